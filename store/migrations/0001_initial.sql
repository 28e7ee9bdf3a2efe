-- What is known of sealed episodes and of rounds. Every row can be made again: from `episodes/` or from `journal/`.
-- No primary keys: one writer at a time holds our lock, rows of one key are replaced as a whole, and unique indexes
-- would refuse that inside one transaction.

CREATE TABLE journal (sequence INTEGER, name VARCHAR, kind VARCHAR);

CREATE TABLE episodes (
    episode_id VARCHAR, path VARCHAR, session_id VARCHAR, case_id VARCHAR, scenario VARCHAR, seed INTEGER, decoy BOOLEAN,
    role VARCHAR, generation VARCHAR, planner VARCHAR, driver_kind VARCHAR, driver_id VARCHAR, style VARCHAR,
    drive_seed BIGINT, map_name VARCHAR, map_sha256 VARCHAR, polygons_sha256 VARCHAR, created_utc VARCHAR,
    code_version VARCHAR, ticks INTEGER, warmup INTEGER, frames INTEGER, plans INTEGER, truncated BOOLEAN,
    success BOOLEAN, rc DOUBLE, ds DOUBLE, ended VARCHAR, driven_m DOUBLE, duration_s DOUBLE, takeovers INTEGER,
    phantom_brakes INTEGER, standstill_s DOUBLE, infractions JSON, outcome_extra JSON, scenario_info JSON,
    content_sha256 VARCHAR, manifest_sha256 VARCHAR
);

-- Warm-up ticks are negative, executed_by 'warmup'.
CREATE TABLE ticks (
    episode_id VARCHAR, tick INTEGER, time_s DOUBLE,
    x_m DOUBLE, y_m DOUBLE, yaw_rad DOUBLE, speed_mps DOUBLE, accel_mps2 DOUBLE, yaw_rate_radps DOUBLE,
    steer_rad DOUBLE, lateral_accel_mps2 DOUBLE,
    executed_steer DOUBLE, executed_throttle DOUBLE, executed_brake DOUBLE,
    policy_steer DOUBLE, policy_throttle DOUBLE, policy_brake DOUBLE,
    driver_steer DOUBLE, driver_throttle DOUBLE, driver_brake DOUBLE,
    executed_by VARCHAR, handover_state VARCHAR, plan_tick INTEGER, ttc_s DOUBLE, route_progress_m DOUBLE,
    lateral_error_m DOUBLE, heading_error_rad DOUBLE, speed_limit_mps DOUBLE, off_road BOOLEAN, red_light BOOLEAN,
    command VARCHAR, agents INTEGER, faults VARCHAR[]
);

-- One row a road user and episode; its motion per tick is in the segment files (store.EpisodeReader.tracks).
CREATE TABLE agents (
    episode_id VARCHAR, actor_id BIGINT, kind VARCHAR, name VARCHAR, length_m DOUBLE, width_m DOUBLE,
    first_tick INTEGER, last_tick INTEGER, nearest_m DOUBLE, nearest_tick INTEGER
);

CREATE TABLE plans (
    episode_id VARCHAR, tick INTEGER, generation VARCHAR, shadow BOOLEAN, waypoints_m FLOAT[],
    x_m DOUBLE, y_m DOUBLE, yaw_rad DOUBLE, speed_mps DOUBLE, text VARCHAR
);

-- The bytes [byte_offset, byte_offset + byte_length) of episodes.path/file are one JPEG file.
CREATE TABLE frames (
    episode_id VARCHAR, tick INTEGER, camera INTEGER, file VARCHAR, byte_offset BIGINT, byte_length INTEGER
);

CREATE TABLE events (episode_id VARCHAR, tick INTEGER, kind VARCHAR, data JSON);

-- Labels: derived by the segmenter, recomputable from the episodes.
CREATE TABLE takeovers (
    takeover_id VARCHAR, chain_id VARCHAR, episode_id VARCHAR, onset_tick INTEGER, hazard_tick INTEGER,
    hazard VARCHAR, stable_tick INTEGER, handback_tick INTEGER, reason VARCHAR, trains BOOLEAN, relapse BOOLEAN,
    weight DOUBLE, min_ttc_before_s DOUBLE, min_ttc_after_s DOUBLE, segmenter_version VARCHAR
);

CREATE TABLE segments (
    segment_id VARCHAR, episode_id VARCHAR, takeover_id VARCHAR, phase VARCHAR, start_tick INTEGER, end_tick INTEGER,
    executed_by VARCHAR, reason VARCHAR, train_mask BOOLEAN, weight DOUBLE, segmenter_version VARCHAR
);

CREATE TABLE pairs (
    pair_id VARCHAR, episode_id VARCHAR, takeover_id VARCHAR, tick INTEGER, source VARCHAR, admitted BOOLEAN,
    reject_reason VARCHAR, round INTEGER, role VARCHAR, case_id VARCHAR, generation VARCHAR, driver_id VARCHAR,
    chosen_m FLOAT[], chosen_mask BOOLEAN[], rejected_m FLOAT[], score_chosen DOUBLE, score_rejected DOUBLE,
    weight DOUBLE, critical_actor_id BIGINT, segmenter_version VARCHAR, details JSON
);

-- The loop.
CREATE TABLE rounds (
    run_id VARCHAR, round INTEGER, champion VARCHAR, challenger VARCHAR, outcome VARCHAR, seconds DOUBLE,
    details JSON, created_utc VARCHAR
);

CREATE TABLE steps (
    run_id VARCHAR, round INTEGER, name VARCHAR, key VARCHAR, payload JSON, created_utc VARCHAR
);

CREATE TABLE generations (
    generation INTEGER, version VARCHAR, parent INTEGER, run_id VARCHAR, round INTEGER, path VARCHAR, sha256 VARCHAR,
    metrics JSON, gate VARCHAR, created_utc VARCHAR
);

CREATE TABLE evaluations (
    weights_sha256 VARCHAR, suite VARCHAR, case_id VARCHAR, scenario VARCHAR, seed INTEGER, decoy BOOLEAN,
    generation INTEGER, success BOOLEAN, ds DOUBLE, rc DOUBLE, ended VARCHAR, infractions JSON, takeovers INTEGER, phantom_brakes INTEGER,
    standstill_s DOUBLE, driven_m DOUBLE, duration_s DOUBLE, details JSON, created_utc VARCHAR
);

CREATE TABLE promotions (
    promotion_id VARCHAR, from_generation INTEGER, to_generation INTEGER, outcome VARCHAR, external BOOLEAN,
    evidence JSON, run_id VARCHAR, round INTEGER, created_utc VARCHAR
);
