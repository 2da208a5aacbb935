"""The answer page in a real browser, at the width of a phone."""

import threading

import pytest

from workbench import alerts as room

pytestmark = pytest.mark.slow
COLOURS = """(name) => {  // of ink and paper, how much red there is, of 255
  const style = getComputedStyle(document.querySelector(name));
  return [style.color, style.backgroundColor].map((colour) => Number(colour.match(/\\d+/)[0]));
}"""
SECRET = "0123456789abcdef"  # noqa: S105 - of this test alone


@pytest.mark.timeout(300)
def test_an_alert_is_answered_on_a_phone(phone, stream, alert, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_ALERTS_SECRET", SECRET)
    plant = stream({"to": "webhook", "url": "http://plant.example"})
    sent = alert(1, "closed", sensor="line-1-pump-with-a-name-that-is-longer-than-a-phone-is-wide")
    with room.serve(plant) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            base = f"http://127.0.0.1:{server.server_port}"
            phone.goto(room.link(sent, SECRET.encode(), base=base))
            widths = phone.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
            colours = {}
            for scheme in ("dark", "light"):
                phone.emulate_media(color_scheme=scheme)
                colours[scheme] = [phone.evaluate(COLOURS, name) for name in ("body", "input")]
            buttons = phone.locator("button").all()
            heights = [button.bounding_box()["height"] for button in buttons]
            phone.screenshot(path=tmp_path / "question.png")
            buttons[1].tap()  # nobody has said who they are
            assert phone.locator("input:invalid").count() == 1
            assert room.answers(plant) == []
            phone.get_by_label("Why, if you like").fill("cleaning the filter")
            phone.get_by_label("Who you are").fill("Ada")
            buttons[1].tap()
            phone.get_by_text("Thank you, this is kept: A false alarm.").wait_for()
            phone.screenshot(path=tmp_path / "thanks.png")
        finally:
            server.shutdown()
            thread.join()

    assert widths[0] <= widths[1]  # nothing to scroll sideways
    assert all(paper < 60 < 200 < ink for ink, paper in colours["dark"])
    assert all(ink < 60 < 200 < paper for ink, paper in colours["light"])
    assert min(heights) >= 48  # pixels: a thumb's
    (given,) = room.answers(plant)
    assert (given.alert, given.verdict, given.who, given.why) == (
        sent["id"], "false", "Ada", "cleaning the filter",
    )  # fmt: skip
