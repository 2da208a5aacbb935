import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.util.Calendar;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TimeZone;

/** Asks what a tool on JDBC asks, and prints the answers. */
public class Client {
    private interface Asked {
        ResultSet answer() throws SQLException;
    }

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.setProperty("user", "w");
        settings.setProperty("prepareThreshold", arguments[1]); // -1: binary from the first
        String url = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/archive";
        try (Connection connection = DriverManager.getConnection(url, settings)) {
            DatabaseMetaData about = connection.getMetaData();
            show("catalog", about.getCatalogs(), "TABLE_CAT");
            show("schema", about.getSchemas(), "TABLE_SCHEM");
            show("table", about.getTables(null, "public", "%", new String[] {"TABLE"}),
                "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE");
            show("column", about.getColumns(null, "public", "pumps", "%"),
                "ORDINAL_POSITION", "COLUMN_NAME", "TYPE_NAME", "DATA_TYPE");
            others(about);
            for (int again = 0; again < 7; again++) { // the driver prepares after its threshold
                ask(connection);
            }
            zones(connection);
            stream(connection);
        }
    }

    private static void show(String what, ResultSet asked, String... columns) throws SQLException {
        try (ResultSet rows = asked) {
            while (rows.next()) {
                StringBuilder line = new StringBuilder(what);
                for (String column : columns) {
                    line.append(' ').append(rows.getString(column));
                }
                System.out.println(line);
            }
        }
    }

    /** Asks for the rest of the catalogues, and says how many rows came. */
    private static void others(DatabaseMetaData about) throws SQLException {
        Map<String, Asked> asked = new LinkedHashMap<>();
        asked.put("primary keys", () -> about.getPrimaryKeys(null, "public", "pumps"));
        asked.put("imported keys", () -> about.getImportedKeys(null, "public", "pumps"));
        asked.put("exported keys", () -> about.getExportedKeys(null, "public", "pumps"));
        asked.put("indexes", () -> about.getIndexInfo(null, "public", "pumps", false, true));
        asked.put("row ids", () -> about.getBestRowIdentifier(null, "public", "pumps", 0, true));
        asked.put("procedures", () -> about.getProcedures(null, "public", "%"));
        asked.put("functions", () -> about.getFunctions(null, "public", "%"));
        asked.put("types of users", () -> about.getUDTs(null, "public", "%", null));
        asked.put("views", () -> about.getTables(null, "public", "%", new String[] {"VIEW"}));
        asked.put("privileges", () -> about.getTablePrivileges(null, "public", "pumps"));
        asked.put("types", about::getTypeInfo);
        asked.put("kinds of tables", about::getTableTypes);
        for (Map.Entry<String, Asked> entry : asked.entrySet()) {
            int count = 0;
            try (ResultSet rows = entry.getValue().answer()) {
                while (rows.next()) {
                    count++;
                }
            } catch (SQLException err) {
                System.err.println(entry.getKey() + ": " + err.getMessage());
            }
            System.out.println(entry.getKey() + " " + count);
        }
        System.out.println(about.getDatabaseProductName() + " "
            + about.getSQLKeywords().contains("qualify"));
    }

    private static void ask(Connection connection) throws SQLException {
        String text = "select pump, event_time, vibration_mm_s, count(*) over () as n from pumps"
            + " where event_time >= ? and event_time < ? and pump = ? and vibration_mm_s > ?"
            + " order by event_time limit ?";
        try (PreparedStatement statement = connection.prepareStatement(text)) {
            statement.setObject(1, OffsetDateTime.parse("2026-01-06T01:00:00+01:00"));
            statement.setTimestamp(2, Timestamp.from(Instant.parse("2026-01-07T00:00:00Z")));
            statement.setString(3, "pump-1");
            statement.setDouble(4, 0.5);
            statement.setInt(5, 1);
            try (ResultSet rows = statement.executeQuery()) {
                ResultSetMetaData about = rows.getMetaData();
                rows.next();
                System.out.println("row " + rows.getString(1) + " "
                    + rows.getObject(2, OffsetDateTime.class).toInstant() + " "
                    + rows.getDouble(3) + " " + rows.getLong(4) + " as "
                    + about.getColumnTypeName(2) + " " + about.getColumnClassName(3));
            }
        }
    }

    /** Shows one instant as a client in another zone reads it. */
    private static void zones(Connection connection) throws SQLException {
        String text = "select max(event_time) as latest from pumps";
        Calendar tokyo = Calendar.getInstance(TimeZone.getTimeZone("Asia/Tokyo"));
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(text)) {
            rows.next();
            System.out.println("latest " + rows.getTimestamp(1).toInstant() + " "
                + rows.getTimestamp(1, tokyo).toInstant() + " "
                + rows.getObject(1, OffsetDateTime.class).toInstant());
        }
    }

    /** Fetches more rows than the driver asks for at a time. */
    private static void stream(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (PreparedStatement statement =
                connection.prepareStatement("select pump, flow_l_min from pumps")) {
            statement.setFetchSize(1000);
            int count = 0;
            double total = 0;
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    count++;
                    total += rows.getDouble(2);
                }
            }
            System.out.println("rows " + count + " " + Math.round(total));
        }
        connection.commit();
    }
}
