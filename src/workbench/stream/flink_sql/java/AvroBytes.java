package workbench;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Walks through one Avro record, and makes nothing but of what it is asked for.
 *
 * <p>What a value may claim is bounded by its bytes: an array of 10^8 items without bytes is refused.
 * Sizes, counts, symbols, branches and booleans that Avro does not write are refused, by the rule of
 * the archive's reader, {@code archive/values/avro/budget.py}.
 *
 * <p>Source: Apache Avro 1.11 specification, "Binary Encoding"; the budget is our own.
 */
final class AvroBytes {
    private static final int VALUES = 1000; // parts of a value that its bytes do not pay for
    private static final int VALUES_PER_BYTE = 16;

    /** What is wrong with a value. */
    static final class Misfit extends Exception {
        private static final long serialVersionUID = 1L;

        Misfit(String what) {
            super(what, null, false, false);
        }
    }

    int position;
    private int blockEnd; // where the block that was begun says that it ends; -1: it does not say
    private final byte[] data;
    private long left;

    AvroBytes(byte[] data, int start, AvroType record) {
        this.data = data;
        this.position = start;
        this.left = VALUES + record.types + (long) VALUES_PER_BYTE * (data.length - start);
    }

    /** Step over the next value, which stands in values so many levels deep. */
    void pass(AvroType type, int level) throws Misfit {
        take(1);
        AvroType kind = type;
        while (kind.kind.equals("union")) {
            kind = branch(kind);
        }
        switch (kind.kind) {
            case "null":
                return;
            case "boolean":
                require(position < data.length, "it ends early");
                int truth = data[position++];
                require(truth == 0 || truth == 1, "a boolean that is neither 0 nor 1");
                return;
            case "float":
                skip(4);
                return;
            case "double":
                skip(8);
                return;
            case "fixed":
                skip(kind.size);
                return;
            case "bytes":
            case "string":
                skip(number());
                return;
            case "enum":
                long symbol = number();
                require(symbol >= 0 && symbol < kind.symbols, "a symbol that its enum does not have");
                return;
            case "int":
            case "long":
                number();
                return;
            default:
                require(level < AvroType.LEVELS, "it is nested more than " + AvroType.LEVELS + " levels deep");
                inner(kind, level);
        }
    }

    private void inner(AvroType kind, int level) throws Misfit {
        if (kind.kind.equals("record")) {
            for (AvroType part : kind.parts) {
                pass(part, level + 1);
            }
            return;
        }
        for (long count = block(); count > 0; count = block()) {
            int end = blockEnd;
            for (; count > 0; count--) {
                if (kind.kind.equals("map")) {
                    skip(number());
                }
                pass(kind.parts.get(0), level + 1);
            }
            require(end < 0 || end == position, "a block of items whose size is not theirs");
        }
    }

    /** Returns how many items the next block has. */
    private long block() throws Misfit {
        long count = number();
        blockEnd = -1;
        if (count < 0) {
            long size = number();
            count = -count;
            require(size >= 0 && size <= data.length - position && count > 0,
                    "a block of items whose size is not theirs");
            blockEnd = position + (int) size;
        }
        require(count <= left, "it claims more values than its bytes can hold");
        return count;
    }

    private void take(int values) throws Misfit {
        left -= values;
        require(left >= 0, "it claims more values than its bytes can hold");
    }

    /** Returns the branch of a union that a value is of. */
    AvroType branch(AvroType union) throws Misfit {
        long branch = number();
        require(branch >= 0 && branch < union.parts.size(), "a branch that its union does not have");
        return union.parts.get((int) branch);
    }

    /** Returns a whole number. */
    long number() throws Misfit {
        long value = 0;
        for (int shift = 0; shift < 70; shift += 7) {
            require(position < data.length, "it ends early");
            byte part = data[position++];
            value |= shift < 64 ? (long) (part & 0x7F) << shift : 0;
            if (part >= 0) {
                return (value >>> 1) ^ -(value & 1);
            }
        }
        throw new Misfit("it ends early, or a size in it is negative or passes its end");
    }

    /** Returns a number of float's or double's bytes. */
    double fraction(int bytes) {
        long bits = 0;
        for (int place = bytes - 1; place >= 0; place--) {
            bits = bits << 8 | data[position + place] & 0xFF;
        }
        position += bytes;
        return bytes == 4 ? Float.intBitsToFloat((int) bits) : Double.longBitsToDouble(bits);
    }

    /** Returns a text: U+FFFD where its bytes are no UTF-8, as many as Python has. */
    String text() throws Misfit {
        int size = (int) number();
        byte[] text = Arrays.copyOfRange(data, position, position + size);
        position += size;
        for (int place = 0; place + 1 < size; place++) {
            if (text[place] == (byte) 0xED && (text[place + 1] & 0xFF) >= 0xA0) {
                text[place] = (byte) 0xFF; // half of a pair: Java has one for its three bytes
            }
        }
        return new String(text, StandardCharsets.UTF_8);
    }

    private void skip(long size) throws Misfit {
        require(size >= 0 && size <= data.length - position,
                "it ends early, or a size in it is negative or passes its end");
        position += (int) size;
    }

    private static void require(boolean holds, String otherwise) throws Misfit {
        if (!holds) {
            throw new Misfit(otherwise);
        }
    }
}
