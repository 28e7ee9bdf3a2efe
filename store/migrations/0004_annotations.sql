-- What a driver says of an episode after it is sealed. onset_tick names a takeover; NULL means the whole episode.
CREATE TABLE annotations (
    annotation_id VARCHAR, episode_id VARCHAR, onset_tick INTEGER, verdict VARCHAR, reason VARCHAR, note VARCHAR,
    created_utc VARCHAR
);

-- good, mistake, discard, or '' when the driver said nothing.
ALTER TABLE takeovers ADD COLUMN verdict VARCHAR DEFAULT '';
