-- What a generation learnt from, with the weights of that moment: written when it is read for training, so later labels
-- cannot change it. Ids and hashes only: it stays when a driver is forgotten. kind is pair,
-- failed, recovery, replay or given.
CREATE TABLE training_data (
    run_id VARCHAR, round INTEGER, kind VARCHAR, item_id VARCHAR, episode_id VARCHAR, takeover_id VARCHAR,
    source VARCHAR, weight DOUBLE, content_sha256 VARCHAR
);

CREATE VIEW generation_data AS
SELECT g.generation, d.* FROM training_data AS d JOIN generations AS g USING (run_id, round);
