-- One row a tick with its label: the fields that must stay separate, side by side.

CREATE VIEW labelled_ticks AS
SELECT
    t.*, s.phase, s.takeover_id, s.reason, s.train_mask, s.weight, s.segmenter_version,
    e.generation, e.driver_id, e.driver_kind, e.role, e.case_id
FROM ticks AS t
JOIN episodes AS e USING (episode_id)
LEFT JOIN segments AS s
    ON s.episode_id = t.episode_id AND t.tick >= s.start_tick AND t.tick < s.end_tick;
