package workbench;

import java.io.CharConversionException;
import java.io.IOException;
import java.io.InputStream;
import java.io.Serializable;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.DeserializationFeature;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;

/**
 * What a schema registry has of an id: asked once, as an id stands for the same schema for ever.
 *
 * <p>Its address and login stand in a file, a line each, which is read where this runs, when a schema
 * is asked for: neither is in a job's definition, nor in what is said here. That it lacks an id is
 * believed for a minute: it may be registered yet. Where it does not answer it is asked again, and
 * then the job fails: a message that could be a reading is not refused for that.
 *
 * <p>Source: Confluent Schema Registry API Reference, {@code GET /schemas/ids/{id}}.
 */
final class SchemaRegistry implements Serializable {
    private static final long serialVersionUID = 1L;
    private static final int KEPT = 1000; // ids
    private static final int ANSWER_MS = 10_000;
    private static final int[] PAUSES_MS = {200, 1_000, 3_000, 10_000};
    private static final int MOST_BYTES = 4 << 20; // of an answer
    private static final int LEVELS = 1000; // of lists and objects in JSON
    private static final int DIGITS = 1000; // of a number in it
    private static final long LACKED_NS = 60_000_000_000L;
    private static final int NO_SCHEMA = 40403;

    /** A schema, or why no value of it is a reading. */
    static final class Known {
        final AvroType type;
        final String unfit;
        final boolean lasts;
        private final long since = System.nanoTime();

        private Known(AvroType type, String unfit, boolean lasts) {
            this.type = type;
            this.unfit = unfit;
            this.lasts = lasts;
        }
    }

    private final String file;
    private transient Map<Integer, Known> known;
    private transient ObjectMapper json;

    SchemaRegistry(String file) {
        this.file = file;
    }

    /** Returns the schema of an id, and what {@code unfit} says of it. */
    Known schema(int number, Function<AvroType, String> unfit) throws IOException {
        if (known == null) {
            json = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
            known = new LinkedHashMap<Integer, Known>(64, 0.75f, true) {
                private static final long serialVersionUID = 1L;

                @Override
                protected boolean removeEldestEntry(Map.Entry<Integer, Known> eldest) {
                    return size() > KEPT;
                }
            };
        }
        Known kept = known.get(number);
        if (kept == null || !kept.lasts && System.nanoTime() - kept.since > LACKED_NS) {
            kept = asked(number, unfit);
            known.put(number, kept);
        }
        return kept;
    }

    private Known asked(int number, Function<AvroType, String> unfit) throws IOException {
        JsonNode answer = answer(number);
        if (answer == null) {
            return new Known(null, "the schema registry has no schema " + number, false);
        }
        String kind = answer.path("schemaType").asText("AVRO");
        if (!kind.equals("AVRO") || answer.path("references").size() > 0) {
            String what = kind.equals("AVRO") ? "refers to other schemas" : "is not Avro";
            return new Known(null, "schema " + number + " " + what, true);
        }
        try {
            String text = answer.path("schema").textValue();
            checkSizes(text);
            JsonNode definition = json.readTree(text);
            if (definition.isMissingNode()) {
                throw new IllegalArgumentException("it is no JSON");
            }
            AvroType type = AvroType.parse(definition);
            String why = unfit.apply(type);
            return new Known(type, why == null ? null : "of schema " + number + ": " + why, true);
        } catch (JsonProcessingException | IllegalArgumentException err) {
            String what = err instanceof JsonProcessingException ? "it is no JSON" : err.getMessage();
            return new Known(null, "schema " + number + " cannot be read by: " + what, true);
        }
    }

    /** Returns what the registry says of an id; null: there is no such schema. */
    private JsonNode answer(int number) throws IOException {
        for (int pause : PAUSES_MS) {
            try {
                return once(number);
            } catch (Silent silent) {
                try {
                    Thread.sleep(pause);
                } catch (InterruptedException err) {
                    Thread.currentThread().interrupt();
                    throw new IOException("stopped while the schema registry was asked");
                }
            }
        }
        return once(number);
    }

    /** That it does not answer: asking again may help. Names no host, as what Java throws does. */
    private static final class Silent extends IOException {
        private static final long serialVersionUID = 1L;

        Silent(String what) {
            super("the schema registry does not answer: " + what);
        }
    }

    private JsonNode once(int number) throws IOException {
        List<String> lines = Files.readAllLines(Paths.get(file));
        HttpURLConnection connection = opened(lines.get(0) + "/schemas/ids/" + number);
        if (lines.size() > 1 && !lines.get(1).isEmpty()) {
            byte[] login = lines.get(1).getBytes(StandardCharsets.UTF_8);
            String coded = Base64.getEncoder().encodeToString(login);
            connection.setRequestProperty("Authorization", "Basic " + coded);
        }
        int status;
        byte[] body;
        try {
            status = connection.getResponseCode();
            InputStream given = status < 400 ? connection.getInputStream() : connection.getErrorStream();
            body = given == null ? new byte[0] : given.readNBytes(MOST_BYTES + 1);
        } catch (IOException err) {
            throw new Silent(err.getClass().getSimpleName());
        } finally {
            connection.disconnect();
        }
        if (status >= 500 || status == 429) {
            throw new Silent("status " + status);
        }
        return content(status, body);
    }

    private static HttpURLConnection opened(String address) throws IOException {
        try {
            HttpURLConnection connection = (HttpURLConnection) URI.create(address).toURL().openConnection();
            connection.setInstanceFollowRedirects(false);
            connection.setConnectTimeout(ANSWER_MS);
            connection.setReadTimeout(ANSWER_MS);
            return connection;
        } catch (IllegalArgumentException | IOException | ClassCastException err) {
            throw new IOException("what is known as the address of the schema registry is none"); // and not told
        }
    }

    private JsonNode content(int status, byte[] body) throws IOException {
        if (status != 200 && status != 404) {
            throw new IOException("the schema registry refuses with " + status);
        }
        if (body.length > MOST_BYTES) {
            throw new IOException("the schema registry gives a schema of more than " + MOST_BYTES + " bytes");
        }
        JsonNode content;
        try {
            checkSizes(new String(body, StandardCharsets.ISO_8859_1));
            content = json.readTree(body);
        } catch (JsonProcessingException | CharConversionException | IllegalArgumentException err) {
            throw new Silent("it gives no JSON");
        }
        if (status == 404 && content.path("error_code").asInt() != NO_SCHEMA) {
            throw new IOException("there is no schema registry at the address that is known");
        }
        if (status == 200 && !content.path("schema").isTextual()) {
            throw new Silent("it gives no schema"); // what stands before it answers for it
        }
        return status == 404 ? null : content;
    }

    /** Refuses JSON that is nested deep or has long numbers, before it is made. */
    private static void checkSizes(String text) {
        int level = 0;
        int digits = 0;
        boolean quoted = false;
        for (int at = 0; at < text.length(); at++) {
            char mark = text.charAt(at);
            digits = !quoted && mark >= '0' && mark <= '9' ? digits + 1 : 0;
            if (quoted && mark == '\\') {
                at++;
            } else if (mark == '"') {
                quoted = !quoted;
            } else if (!quoted) {
                level += mark == '[' || mark == '{' ? 1 : mark == ']' || mark == '}' ? -1 : 0;
            }
            if (level > LEVELS) {
                throw new IllegalArgumentException("its JSON is nested more than " + LEVELS + " levels deep");
            }
            if (digits > DIGITS) {
                throw new IllegalArgumentException("its JSON has a number of more than " + DIGITS + " digits");
            }
        }
    }
}
