-- Was what was driven from a state safe? (SafeAlign, Algorithm 1.) One row a state that `loop pair` looked at.
CREATE TABLE safety_labels (
    label_id VARCHAR, episode_id VARCHAR, tick INTEGER, label VARCHAR, cause VARCHAR, min_ttc_s DOUBLE, observed VARCHAR,
    score DOUBLE, trains BOOLEAN, reason VARCHAR, role VARCHAR, case_id VARCHAR, generation VARCHAR, variant VARCHAR,
    segmenter_version VARCHAR
);
