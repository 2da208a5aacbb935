package workbench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.io.network.netty.InboundChannelHandlerFactory;
import org.apache.flink.runtime.io.network.netty.OutboundChannelHandlerFactory;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelFutureListener;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelHandler;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelHandlerContext;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelInboundHandlerAdapter;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelOutboundHandlerAdapter;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelPromise;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.DefaultFullHttpResponse;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.FullHttpResponse;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpHeaderNames;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpHeaders;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpRequest;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpResponseStatus;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpVersion;
import org.apache.flink.shaded.netty4.io.netty.util.ReferenceCountUtil;

/**
 * Who may speak to Flink's REST API: it takes jobs, which are code.
 *
 * <p>Basic authentication, so that a browser can ask for the password; and a request must be meant
 * for loopback and not come from another site's page, for a browser that knows the password sends
 * it along with that page's requests too. User and password stand in a file, as {@code
 * user:password}; where none is configured, nothing is asked and nothing sent.
 */
public final class RestGuard
        implements InboundChannelHandlerFactory, OutboundChannelHandlerFactory {
    private static final ConfigOption<String> FILE =
            ConfigOptions.key("workbench.rest.password-file").stringType().noDefaultValue();
    private static final Pattern HERE = Pattern.compile("(127\\.0\\.0\\.1|localhost)(:\\d+)?");

    @Override
    public int priority() {
        return 0;
    }

    @Override
    public Optional<ChannelHandler> createHandler(
            Configuration configuration, Map<String, String> responseHeaders) {
        return expected(configuration).map(Inbound::new);
    }

    @Override
    public Optional<ChannelHandler> createHandler(Configuration configuration) {
        return expected(configuration).map(Outbound::new);
    }

    private static Optional<String> expected(Configuration configuration) {
        return configuration.getOptional(FILE).map(RestGuard::header);
    }

    private static String header(String file) {
        try {
            byte[] content = Files.readString(Path.of(file)).strip().getBytes(StandardCharsets.UTF_8);
            return "Basic " + Base64.getEncoder().encodeToString(content);
        } catch (IOException error) {
            throw new UncheckedIOException(error); // nobody is let in by an unreadable file
        }
    }

    private static final class Inbound extends ChannelInboundHandlerAdapter {
        private final byte[] expected;

        Inbound(String expected) {
            this.expected = expected.getBytes(StandardCharsets.UTF_8);
        }

        @Override
        public void channelRead(ChannelHandlerContext context, Object message) {
            HttpResponseStatus refusal =
                    message instanceof HttpRequest ? refusal(((HttpRequest) message).headers()) : null;
            if (refusal == null) {
                context.fireChannelRead(message);
                return;
            }
            ReferenceCountUtil.release(message);
            FullHttpResponse response = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, refusal);
            response.headers().set(HttpHeaderNames.CONTENT_LENGTH, 0);
            if (refusal == HttpResponseStatus.UNAUTHORIZED) {
                response.headers().set(HttpHeaderNames.WWW_AUTHENTICATE, "Basic realm=\"workbench\"");
            }
            context.writeAndFlush(response).addListener(ChannelFutureListener.CLOSE);
        }

        private HttpResponseStatus refusal(HttpHeaders headers) {
            String host = headers.get(HttpHeaderNames.HOST, "");
            String origin = headers.get(HttpHeaderNames.ORIGIN, "http://" + host);
            if (!HERE.matcher(host).matches() || !origin.equals("http://" + host)) {
                return HttpResponseStatus.FORBIDDEN;
            }
            byte[] given =
                    headers.get(HttpHeaderNames.AUTHORIZATION, "").getBytes(StandardCharsets.UTF_8);
            return MessageDigest.isEqual(expected, given) ? null : HttpResponseStatus.UNAUTHORIZED;
        }
    }

    private static final class Outbound extends ChannelOutboundHandlerAdapter {
        private final String header;

        Outbound(String header) {
            this.header = header;
        }

        @Override
        public void write(ChannelHandlerContext context, Object message, ChannelPromise promise)
                throws Exception {
            if (message instanceof HttpRequest) {
                ((HttpRequest) message).headers().set(HttpHeaderNames.AUTHORIZATION, header);
            }
            super.write(context, message, promise);
        }
    }
}
