"""`workbench serve`: history for any tool that speaks PostgreSQL's protocol."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.option("--archive", "url", help="Folder or s3://bucket[/prefix]; else WORKBENCH_ARCHIVE.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=5433, show_default=True, help="Port; 0 takes a free one.")
@click.option("--user", default="workbench", show_default=True, help="Who may ask.")
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The user's password is its first line; else WORKBENCH_SERVE_PASSWORD.",
)
@click.option("--certificate", type=click.Path(exists=True, path_type=Path), help="PEM, for TLS.")
@click.option("--key", type=click.Path(exists=True, path_type=Path), help="PEM, its private key.")
@click.option("--memory-mib", default=1024, show_default=True, help="Of all queries together.")
@click.option("--rows", default=10_000_000, show_default=True, help="Of one result, at most.")
@click.option("--seconds", default=300.0, show_default=True, help="Of one query, at most.")
@click.option("--connections", default=100, show_default=True, help="Clients at a time.")
@click.option("--cache-mib", default=2048.0, show_default=True, help="Decoded columns on disk.")
@click.option("--refresh-s", default=60.0, show_default=True, help="List the archive so often.")
@click.option("--live", is_flag=True, help="With what the broker has and the archive not yet.")
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    help="With --live: another TENANT/NAMESPACE than the archive's and public/default; repeatable.",
)
@click.option("--metrics-port", type=int, help="Metrics for Prometheus, on loopback.")
def serve(
    url: str | None,
    host: str,
    port: int,
    user: str,
    password_file: Path | None,
    certificate: Path | None,
    key: Path | None,
    memory_mib: int,
    rows: int,
    seconds: float,
    connections: int,
    cache_mib: float,
    refresh_s: float,
    live: bool,
    namespaces: tuple[str, ...],
    metrics_port: int | None,
) -> None:
    """Answer SQL over an archive to psql, Grafana, DBeaver, Excel: read only.

    \b
    Example:
        workbench serve --archive data/archive --port 5433
        workbench serve --archive s3://offload --live
    """
    import logging

    from workbench import serve as room
    from workbench.endpoints import endpoints
    from workbench.errors import WorkbenchError

    if namespaces and not live:
        raise WorkbenchError("--namespace tells what of the broker is read", hint="add --live")
    where = url or endpoints().archive
    if not where:
        raise WorkbenchError("no archive is known", hint="--archive URL, or WORKBENCH_ARCHIVE")
    password = os.environ.get("WORKBENCH_SERVE_PASSWORD", "")
    if password_file is not None:
        password = (password_file.read_text(encoding="utf-8").splitlines() or [""])[0]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    limits = room.Limits(memory_mib, rows, seconds, connections, cache_mib=cache_mib)
    server = room.Server(
        where,
        host=host,
        port=port,
        passwords={user: password} if password else None,
        certificate=certificate,
        key=key,
        limits=limits,
        refresh_s=refresh_s,
        metrics_port=metrics_port,
        live=room.Live(namespaces) if live else None,
    )
    click.echo(f"{where} answers at {host}:{server.server_address[1]} (Ctrl-C ends it)", err=True)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("ended", err=True)
