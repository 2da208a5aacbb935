package workbench;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;

/**
 * One type of an Avro schema; a reference is the very object it refers to.
 *
 * <p>What a schema unfolds to is counted on the way, before anything is made of it. Names, budget and
 * errors are those of the archive's reader, {@code archive/values/avro/schema.py}.
 *
 * <p>Source: Apache Avro 1.11 specification, "Names", "Logical Types".
 */
final class AvroType {
    static final int LEVELS = 100; // of types in types, and of values in values
    private static final int TYPES = 10_000; // of a schema with all references unfolded
    private static final int CHARACTERS = 1000; // of a name, a symbol or a default
    private static final int DIGITS = 10_000; // of a decimal
    private static final Set<String> PRIMITIVES = new HashSet<>(Arrays.asList(
            "null", "boolean", "int", "long", "float", "double", "bytes", "string"));
    private static final Set<String> LOGICAL = new HashSet<>(Arrays.asList(
            "int date", "int time-millis", "long time-micros", "long timestamp-millis",
            "long timestamp-micros", "long timestamp-nanos", "long local-timestamp-millis",
            "long local-timestamp-micros", "long local-timestamp-nanos"));

    final String kind;
    final String name; // full; empty where it has none
    String logical = ""; // of numbers alone: nobody asks for it of others
    int size; // bytes of a fixed
    int symbols;
    List<String> fields = new ArrayList<>(); // names, of a record
    List<AvroType> parts = new ArrayList<>(); // fields, branches, or the items
    int types = 1; // that it unfolds to; a type inside itself is one
    private int levels = 1;

    private AvroType(String kind, String name) {
        this.kind = kind;
        this.name = name;
    }

    /** Returns the type of a schema; an IllegalArgumentException says what is wrong with it. */
    static AvroType parse(JsonNode definition) {
        String kind = definition.path("type").asText();
        require(kind.equals("record") || kind.equals("error"), "it is no record");
        return new Parser().type(definition, "");
    }

    static String shortName(String name) {
        return name.substring(name.lastIndexOf('.') + 1);
    }

    /** Returns the one type beside null of a union, itself where it is none; null: there are more. */
    AvroType plain() {
        if (!kind.equals("union")) {
            return this;
        }
        AvroType plain = null;
        for (AvroType branch : parts) {
            if (!branch.kind.equals("null")) {
                if (plain != null) {
                    return null;
                }
                plain = branch;
            }
        }
        return plain;
    }

    /** Tells whether it holds another type of its short name, whatever the namespace. */
    boolean holdsNamesake(AvroType kind, Set<AvroType> met) {
        for (AvroType part : kind.parts) {
            boolean alike = part != this && shortName(part.name).equals(shortName(name));
            if (alike && !part.name.isEmpty() || met.add(part) && holdsNamesake(part, met)) {
                return true;
            }
        }
        return false;
    }

    private AvroType counted(List<AvroType> added) {
        for (AvroType part : added) {
            types += part.types;
            levels = Math.max(levels, part.levels + 1);
            require(types <= TYPES, "it unfolds to more than " + TYPES + " types");
            require(levels <= LEVELS, "it is nested more than " + LEVELS + " levels deep");
        }
        return this;
    }

    private static void require(boolean holds, String otherwise) {
        if (!holds) {
            throw new IllegalArgumentException(otherwise);
        }
    }

    /** Reads one schema; holds the named types met so far. */
    private static final class Parser {
        private final Map<String, AvroType> named = new HashMap<>();
        private final Map<String, JsonNode> definitions = new HashMap<>();
        private int level = 0;

        AvroType type(JsonNode definition, String space) {
            level++;
            require(level <= LEVELS, "it is nested more than " + LEVELS + " levels deep");
            AvroType type = definition.isArray() ? union(definition, space)
                    : definition.isTextual() ? reference(definition.textValue(), space)
                            : object(definition, space);
            level--;
            return type;
        }

        private AvroType union(JsonNode definition, String space) {
            AvroType union = new AvroType("union", "");
            for (JsonNode branch : definition) {
                union.parts.add(type(branch, space));
                union.counted(union.parts.subList(union.parts.size() - 1, union.parts.size()));
            }
            return union;
        }

        private AvroType object(JsonNode definition, String space) {
            JsonNode inner = definition.path("type");
            if (inner.isContainerNode()) {
                return type(inner, space);
            }
            String kind = text(inner);
            switch (kind) {
                case "record":
                case "error":
                case "enum":
                case "fixed":
                    return named(definition, kind.equals("error") ? "record" : kind, space);
                case "array":
                case "map":
                    AvroType whole = new AvroType(kind, "");
                    whole.parts.add(type(definition.path(kind.equals("array") ? "items" : "values"), space));
                    return whole.counted(whole.parts);
                default:
                    return PRIMITIVES.contains(kind) ? primitive(definition, kind) : reference(kind, space);
            }
        }

        private static AvroType primitive(JsonNode definition, String kind) {
            AvroType type = new AvroType(kind, "");
            String logical = definition.path("logicalType").asText();
            type.logical = LOGICAL.contains(kind + " " + logical) ? logical : "";
            if (kind.equals("bytes")) {
                checkDecimal(definition, Double.POSITIVE_INFINITY);
            }
            return type;
        }

        private AvroType reference(String name, String space) {
            if (PRIMITIVES.contains(name)) {
                return new AvroType(name, "");
            }
            AvroType near = space.isEmpty() || name.contains(".") ? null : named.get(space + "." + name);
            AvroType referred = near == null ? named.get(name) : near;
            require(referred != null, "it names a type that it does not define");
            return referred;
        }

        private AvroType named(JsonNode definition, String kind, String space) {
            String name = text(definition.path("name"));
            JsonNode given = definition.get("namespace");
            String around = given == null ? space : given.isNull() ? "" : text(given);
            name = around.isEmpty() || name.contains(".") ? name : around + "." + name;
            AvroType known = named.get(name);
            if (known != null) {
                require(definitions.get(name).equals(definition), "it defines a type twice");
                return known;
            }
            AvroType type = new AvroType(kind, name);
            named.put(name, type);
            definitions.put(name, definition);
            checkTexts(definition.get("aliases"));
            if (kind.equals("enum")) {
                checkSymbols(definition.path("symbols"), definition.get("default"));
                type.symbols = definition.path("symbols").size();
                type.types += type.symbols;
            } else if (kind.equals("fixed")) {
                JsonNode size = definition.path("size");
                boolean whole = size.isIntegralNumber() && size.canConvertToInt();
                require(whole && size.intValue() >= 0, "a fixed has no size");
                type.size = size.intValue();
                checkDecimal(definition, (8L * type.size - 1) * Math.log10(2));
            } else {
                fill(type, definition.path("fields"), name.substring(0, Math.max(0, name.lastIndexOf('.'))));
            }
            return type.counted(new ArrayList<>());
        }

        /** Give a record its fields, counted one by one. Until then it is one, for what it is in. */
        private void fill(AvroType record, JsonNode fields, String space) {
            require(fields.isArray(), "a record has no list of fields");
            AvroType whole = new AvroType("record", "");
            for (JsonNode field : fields) {
                AvroType type = type(field.path("type"), space);
                whole.counted(Arrays.asList(type));
                record.parts.add(type);
                record.fields.add(text(field.path("name")));
                checkTexts(field.get("aliases"));
                JsonNode value = field.get("default");
                require(value == null || characters(value) <= CHARACTERS, "it has a default that is too long");
            }
            require(new HashSet<>(record.fields).size() == record.fields.size(), "two fields are named alike");
            record.types = whole.types;
            record.levels = whole.levels;
        }

        private static String text(JsonNode node) {
            String text = node.isTextual() ? node.textValue() : null;
            boolean isName = text != null && text.codePointCount(0, text.length()) <= CHARACTERS
                    && StandardCharsets.UTF_8.newEncoder().canEncode(text);
            require(isName, "a name is none, or too long");
            return text;
        }

        private static void checkTexts(JsonNode given) {
            if (given != null && !given.isNull()) {
                require(given.isArray(), "it has names that are no list");
                given.forEach(Parser::text);
            }
        }

        private static void checkSymbols(JsonNode symbols, JsonNode byDefault) {
            require(symbols.isArray(), "an enum has no list of symbols");
            checkTexts(symbols);
            Set<JsonNode> each = new HashSet<>();
            symbols.forEach(each::add);
            require(each.size() == symbols.size(), "an enum has a symbol twice");
            boolean isSymbol = byDefault == null || byDefault.isNull() || each.contains(byDefault);
            require(isSymbol, "an enum's default is none of its symbols");
        }

        /** Refuses a decimal that the archive does; one that does not fit its bytes is none. */
        private static void checkDecimal(JsonNode definition, double most) {
            JsonNode digits = definition.path("precision");
            JsonNode given = definition.get("scale");
            boolean isDecimal = definition.path("logicalType").asText().equals("decimal")
                    && digits.isIntegralNumber() && (given == null || given.isIntegralNumber());
            BigInteger scale = given == null ? BigInteger.ZERO : given.bigIntegerValue();
            if (isDecimal && scale.signum() >= 0 && scale.compareTo(digits.bigIntegerValue()) <= 0
                    && digits.doubleValue() <= most) {
                require(digits.doubleValue() <= DIGITS, "a decimal has more than " + DIGITS + " digits");
            }
        }

        /** Returns how long a value is as Python's JSON, which the archive's reader counts. */
        private static int characters(JsonNode value) {
            if (value.isTextual()) {
                return characters(value.textValue());
            }
            if (!value.isContainerNode()) {
                return value.asText().length();
            }
            int count = 2 * Math.max(1, value.size());
            for (JsonNode part : value) {
                count += characters(part);
            }
            for (Iterator<String> names = value.fieldNames(); names.hasNext();) {
                count += characters(names.next()) + 2;
            }
            return count;
        }

        private static int characters(String text) {
            return 2 + text.chars()
                    .map(each -> "\"\\\n\r\t\b\f".indexOf(each) >= 0 ? 2 : each < ' ' || each > '~' ? 6 : 1).sum();
        }
    }
}
