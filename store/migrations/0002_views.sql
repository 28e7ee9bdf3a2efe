-- One row a segment: what SQL users start from. Plans are those made in the segment, frame paths those shown in it.

CREATE VIEW labelled_segments AS
SELECT
    s.segment_id, s.episode_id, e.case_id, e.scenario, e.role, s.takeover_id, t.chain_id,
    t.onset_tick, t.onset_tick * 0.05 AS onset_s, t.hazard_tick, t.hazard,
    s.start_tick, s.end_tick, (s.end_tick - s.start_tick) * 0.05 AS duration_s,
    s.reason, e.driver_id, e.driver_kind, e.style, e.generation,
    coalesce(p.plan_ticks_issued, []) AS plan_ticks_issued,
    coalesce(p.plan_ticks_shadow, []) AS plan_ticks_shadow,
    e.path AS episode_path, coalesce(f.frame_paths, []) AS frame_paths,
    s.phase, s.train_mask, s.weight, s.segmenter_version
FROM segments AS s
JOIN episodes AS e USING (episode_id)
LEFT JOIN takeovers AS t USING (takeover_id)
LEFT JOIN (
    SELECT
        i.segment_id,
        list(plan.tick ORDER BY plan.tick) FILTER (NOT plan.shadow) AS plan_ticks_issued,
        list(plan.tick ORDER BY plan.tick) FILTER (plan.shadow) AS plan_ticks_shadow
    FROM segments AS i
    JOIN plans AS plan
        ON plan.episode_id = i.episode_id AND plan.tick >= i.start_tick AND plan.tick < i.end_tick
    GROUP BY i.segment_id
) AS p USING (segment_id)
LEFT JOIN (
    SELECT
        i.segment_id,
        list(
            {'tick': frame.tick, 'camera': frame.camera, 'file': frame.file,
             'byte_offset': frame.byte_offset, 'byte_length': frame.byte_length}
            ORDER BY frame.tick, frame.camera
        ) AS frame_paths
    FROM segments AS i
    JOIN frames AS frame
        ON frame.episode_id = i.episode_id AND frame.tick >= i.start_tick AND frame.tick < i.end_tick
    GROUP BY i.segment_id
) AS f USING (segment_id);

CREATE VIEW negative_episodes AS SELECT * FROM labelled_segments WHERE phase = 'negative';

CREATE VIEW recovery_episodes AS SELECT * FROM labelled_segments WHERE phase = 'recovery';

CREATE VIEW sessions AS
SELECT
    session_id, min(created_utc) AS first_utc, max(created_utc) AS last_utc, count(*) AS episodes,
    list(DISTINCT driver_id ORDER BY driver_id) AS driver_ids,
    list(DISTINCT driver_kind ORDER BY driver_kind) AS driver_kinds
FROM episodes
GROUP BY session_id;

CREATE VIEW takeover_rates AS
SELECT
    generation, count(*) AS episodes, sum(driven_m) / 1000 AS driven_km, sum(takeovers) AS takeovers,
    sum(takeovers) / nullif(sum(driven_m) / 1000, 0) AS takeovers_per_km
FROM episodes
WHERE driver_kind IN ('scripted', 'human') AND NOT truncated AND ended <> 'sim_fault'
GROUP BY generation;
