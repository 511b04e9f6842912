-- The index of volatile organic compounds, and the mass of particles of up to 2.5 um.
ALTER TABLE sensor_data ADD COLUMN voc_index double precision, ADD COLUMN pm2_5 double precision;
ALTER TABLE sensor ADD COLUMN voc_index double precision, ADD COLUMN pm2_5 double precision;
ALTER TABLE sensor_data_agg
    ADD COLUMN voc_index_count bigint, ADD COLUMN voc_index_avg double precision,
    ADD COLUMN voc_index_min double precision, ADD COLUMN voc_index_max double precision,
    ADD COLUMN voc_index_stddev double precision,
    ADD COLUMN pm2_5_count bigint, ADD COLUMN pm2_5_avg double precision,
    ADD COLUMN pm2_5_min double precision, ADD COLUMN pm2_5_max double precision,
    ADD COLUMN pm2_5_stddev double precision;
