import PostgresClient
import Readings

extension VerificationQueries {
    // MARK: Sensors

    /// Every sensor is what its rows say: when it began, its newest reading, what it gives, its last commit. Where retention
    /// has deleted rows, only what the rest can tell.
    static let sensors: String = {
        let cutoff = "(SELECT readings_since FROM retention)"
        let given = Quantity.aggregated.map { quantity in
            "CASE WHEN count(\(quantity.name)) > 0 THEN \(QuantitySet(quantity).rawValue) ELSE 0 END"
        }
        let latest: [(sensor: SensorColumn, reading: ReadingColumn)] =
            [(.interval, .interval), (.lastStatus, .status)]
            + Quantity.all.map { (.quantity($0), .quantity($0)) }
            + [
                (.faults, .faults), (.latitude, .latitude), (.longitude, .longitude), (.timeQuality, .timeQuality),
                (.isSimulated, .isSimulated),
            ]
        let isLatest = latest.map { "d.\($0.reading.name) IS NOT DISTINCT FROM s.\($0.sensor.name)" }
        return """
            WITH found AS (
                SELECT gateway_id, sensor_id, min(event_time) AS first, max(event_time) AS last,
                    max(commit_number) AS last_commit, \(given.joined(separator: " | ")) AS quantities
                FROM sensor_data GROUP BY gateway_id, sensor_id),
            -- Whether all of its rows are there.
            compared AS (
                SELECT gateway_id, sensor_id, f.first, f.last, f.quantities AS given, f.last_commit AS last_row_commit,
                    \((SensorColumn.state + SensorColumn.latest).names(of: "s")),
                    s.first_event_time >= \(cutoff) AS is_whole
                FROM found f FULL JOIN sensor s USING (gateway_id, sensor_id)),
            problems AS (
                SELECT gateway_id, sensor_id, 'with rows and no row of their own' AS problem
                FROM compared WHERE last_event_time IS NULL
                UNION ALL SELECT gateway_id, sensor_id, 'without their readings'
                FROM compared WHERE first IS NULL AND last_event_time >= \(cutoff)
                UNION ALL SELECT gateway_id, sensor_id, 'with a wrong last event time'
                FROM compared WHERE last_event_time <> last
                UNION ALL SELECT gateway_id, sensor_id, 'with a wrong first event time'
                FROM compared WHERE first_event_time > first OR first_event_time <> first AND is_whole
                UNION ALL SELECT gateway_id, sensor_id, 'with wrong quantities'
                FROM compared WHERE quantities & given <> given OR quantities <> given AND is_whole
                UNION ALL SELECT gateway_id, sensor_id, 'with a wrong last commit'
                FROM compared WHERE last_commit < last_row_commit OR last_commit <> last_row_commit AND is_whole
                UNION ALL SELECT gateway_id, sensor_id, 'whose newest reading is another one'
                FROM compared s WHERE last_event_time = last AND NOT EXISTS (SELECT FROM sensor_data d
                    WHERE d.gateway_id = s.gateway_id AND d.sensor_id = s.sensor_id AND d.event_time = s.last_event_time
                        AND \(isLatest.joined(separator: " AND "))))
            SELECT problem, count(*) AS count, min((gateway_id, sensor_id)::text) AS example
            FROM problems GROUP BY 1 ORDER BY 1
            """
    }()

    // MARK: Gateways

    /// No row, window or sensor is of a commit that its gateway has not made.
    static let gateways = """
        SELECT 'with ' || what || ' of later commits than their own' AS problem, count(*) AS count,
            min(m.gateway_id) AS example
        FROM (SELECT gateway_id, 'readings' AS what, max(commit_number) AS last FROM sensor_data GROUP BY 1
            UNION ALL SELECT gateway_id, 'windows', max(commit_number) FROM sensor_data_agg GROUP BY 1
            UNION ALL SELECT gateway_id, 'sensors', max(last_commit) FROM sensor GROUP BY 1
            UNION ALL SELECT gateway_id, 'streams', 0 FROM stream_progress GROUP BY 1) AS m
            LEFT JOIN gateway g ON g.gateway_id = m.gateway_id
        WHERE g.gateway_id IS NULL OR m.last > g.commit_number GROUP BY what ORDER BY what
        """

    // MARK: Offsets

    /// An offset is written with the rows of its batch, at one time: it must lie behind them, and behind the last message
    /// that was read. Other rows say nothing, and once a log was another one these do not either, as offsets began anew.
    static let offsets = """
        SELECT 'that lie before their last readings' AS problem, count(*) AS count,
            min((topic, kafka_partition, next_offset)::text) AS example
        FROM consumed_offset c WHERE log_generation = 0 AND (message_offset >= next_offset
            OR EXISTS (SELECT FROM sensor_data d WHERE d.kafka_partition = c.kafka_partition
                AND d.ingested_at = c.updated_at AND d.kafka_offset >= c.next_offset))
        HAVING count(*) > 0
        UNION ALL SELECT 'that are missing although there are readings', count(*), min(kafka_partition::text)
        FROM (SELECT DISTINCT kafka_partition FROM sensor_data) p
        WHERE NOT EXISTS (SELECT FROM consumed_offset c WHERE c.kafka_partition = p.kafka_partition)
        HAVING count(*) > 0
        """
}
