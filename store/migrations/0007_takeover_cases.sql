-- A takeover as a case that can be driven again, and what came of trying: see evaluate/takeover_cases.py. Results of
-- generations on admitted cases are evaluations of the suite `certified`, whose case_id is the takeover's id.
CREATE TABLE takeover_cases (
    takeover_id VARCHAR, episode_id VARCHAR, case_id VARCHAR, scenario VARCHAR, seed BIGINT, decoy BOOLEAN,
    generation INTEGER, weights_sha256 VARCHAR, start_tick INTEGER, lead_s DOUBLE, tries INTEGER, failed INTEGER,
    expert_passed INTEGER, deviation_m DOUBLE, deviation_mps DOUBLE, deviation_deg DOUBLE, admitted BOOLEAN,
    reason VARCHAR, held_out BOOLEAN, created_utc VARCHAR
);
