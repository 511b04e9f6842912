-- Windows are written several times: the open ones every few seconds, final ones for late readings. Each page has room for
-- new versions of its rows, so that writing one anew writes neither the index nor, mostly, another page.
ALTER TABLE sensor_data_agg SET (fillfactor = 70);
