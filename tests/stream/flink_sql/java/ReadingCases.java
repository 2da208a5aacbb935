package workbench;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Base64;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.logical.RowType;

/** Gives each line of a file, a message in base64, to the parser; prints what it makes of it. */
public final class ReadingCases {

    /**
     * For each line of a file: refused, sensor, number and whole number, with tabs between.
     *
     * <p>Readings are JSON, or Avro: of the record of a name, by the registry of which a file tells.
     */
    public static void main(String[] arguments) throws Exception {
        RowType row = (RowType) DataTypes.ROW(
                        DataTypes.FIELD("pump", DataTypes.STRING()),
                        DataTypes.FIELD("bar", DataTypes.DOUBLE()),
                        DataTypes.FIELD("at_ms", DataTypes.BIGINT()),
                        DataTypes.FIELD("refused", DataTypes.STRING()))
                .getLogicalType();
        boolean isAvro = arguments.length > 1;
        ReadingParser parser = isAvro
                ? new ReadingParser(row, null, arguments[1], arguments[2], false)
                : new ReadingParser(row, null);
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        for (String line : Files.readAllLines(Paths.get(arguments[0]))) {
            byte[] message = line.equals("null") ? null : Base64.getDecoder().decode(line);
            RowData made = parser.deserialize(message);
            out.println(
                    coded(made.isNullAt(3) ? null : made.getString(3)) + "\t"
                            + coded(made.isNullAt(0) ? null : made.getString(0)) + "\t"
                            + (made.isNullAt(1) ? "null" : Double.toString(made.getDouble(1))) + "\t"
                            + (made.isNullAt(2) ? "null" : Long.toString(made.getLong(2))));
        }
        out.flush();
    }

    private static String coded(StringData text) {
        return text == null ? "null"
                : "=" + Base64.getEncoder().encodeToString(text.toString().getBytes(StandardCharsets.UTF_8));
    }
}
