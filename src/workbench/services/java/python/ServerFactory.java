package org.apache.beam.sdk.fn.server;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.beam.model.pipeline.v1.Endpoints;
import org.apache.beam.sdk.fn.channel.SocketAddressFactory;
import org.apache.beam.vendor.grpc.v1p48p1.io.grpc.BindableService;
import org.apache.beam.vendor.grpc.v1p48p1.io.grpc.Server;
import org.apache.beam.vendor.grpc.v1p48p1.io.grpc.ServerInterceptors;
import org.apache.beam.vendor.grpc.v1p48p1.io.grpc.netty.NettyServerBuilder;
import org.apache.beam.vendor.grpc.v1p48p1.io.netty.channel.EventLoopGroup;
import org.apache.beam.vendor.grpc.v1p48p1.io.netty.channel.epoll.Epoll;
import org.apache.beam.vendor.grpc.v1p48p1.io.netty.channel.epoll.EpollEventLoopGroup;
import org.apache.beam.vendor.grpc.v1p48p1.io.netty.channel.epoll.EpollServerDomainSocketChannel;
import org.apache.beam.vendor.grpc.v1p48p1.io.netty.channel.unix.DomainSocketAddress;
import org.apache.beam.vendor.grpc.v1p48p1.io.netty.util.concurrent.DefaultThreadFactory;

/**
 * Where Flink waits for the Python workers of a job: control, data, state, logging, provision.
 *
 * <p>In place of Beam's class of this name, whose servers take a random port of every interface
 * and ask nobody who he is; who reaches one can hand a job rows, or a worker code. These listen on
 * sockets in a folder that their owner alone can enter, or, where the system has none, on
 * loopback. What Beam's has besides, for workers in containers, PyFlink does not use.
 */
public abstract class ServerFactory {
    private static final int LONGEST_PATH = 100; // of a socket: 108 with what names it
    private static final int KEEP_ALIVE_S = 19; // as Beam's

    public static ServerFactory createDefault() {
        return Epoll.isAvailable() && Sockets.FOLDER != null ? new Sockets() : new Loopback();
    }

    public abstract Server allocateAddressAndCreate(
            List<BindableService> services, Endpoints.ApiServiceDescriptor.Builder descriptor)
            throws IOException;

    public abstract Server create(
            List<BindableService> services, Endpoints.ApiServiceDescriptor descriptor)
            throws IOException;

    private static Server start(NettyServerBuilder builder, List<BindableService> services)
            throws IOException {
        builder.maxMessageSize(Integer.MAX_VALUE)
                .permitKeepAliveTime(KEEP_ALIVE_S, TimeUnit.SECONDS);
        for (BindableService service : services) {
            builder.addService(
                    ServerInterceptors.intercept(
                            service, GrpcContextHeaderAccessorProvider.interceptor()));
        }
        return builder.build().start();
    }

    private static final class Sockets extends ServerFactory {
        private static final Path FOLDER = folder();
        private static final AtomicLong NUMBER = new AtomicLong();
        private static final EventLoopGroup LOOPS =
                new EpollEventLoopGroup(0, new DefaultThreadFactory("workbench-sockets", true));

        /** Return a new folder of ours alone; null if no path in it could name a socket. */
        private static Path folder() {
            try {
                Path folder = Files.createTempDirectory("workbench-"); // rwx------
                folder.toFile().deleteOnExit();
                return folder.toString().length() < LONGEST_PATH - 20 ? folder : null;
            } catch (IOException nowhere) {
                return null;
            }
        }

        @Override
        public Server allocateAddressAndCreate(
                List<BindableService> services, Endpoints.ApiServiceDescriptor.Builder descriptor)
                throws IOException {
            Path path = FOLDER.resolve(Long.toString(NUMBER.incrementAndGet()));
            path.toFile().deleteOnExit();
            descriptor.setUrl("unix://" + path);
            return create(services, descriptor.build());
        }

        @Override
        public Server create(
                List<BindableService> services, Endpoints.ApiServiceDescriptor descriptor)
                throws IOException {
            SocketAddress address = SocketAddressFactory.createFrom(descriptor.getUrl());
            if (!(address instanceof DomainSocketAddress)) {
                return new Loopback().create(services, descriptor);
            }
            return start(
                    NettyServerBuilder.forAddress(address)
                            .channelType(EpollServerDomainSocketChannel.class)
                            .bossEventLoopGroup(LOOPS)
                            .workerEventLoopGroup(LOOPS),
                    services);
        }
    }

    private static final class Loopback extends ServerFactory {
        @Override
        public Server allocateAddressAndCreate(
                List<BindableService> services, Endpoints.ApiServiceDescriptor.Builder descriptor)
                throws IOException {
            InetSocketAddress any = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
            Server server = start(NettyServerBuilder.forAddress(any), services);
            descriptor.setUrl(any.getAddress().getHostAddress() + ":" + server.getPort());
            return server;
        }

        @Override
        public Server create(
                List<BindableService> services, Endpoints.ApiServiceDescriptor descriptor)
                throws IOException {
            SocketAddress address = SocketAddressFactory.createFrom(descriptor.getUrl());
            return start(NettyServerBuilder.forAddress(address), services);
        }
    }
}
