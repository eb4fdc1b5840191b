-- A database as schema version 1 left it: server A with one job, one event and one trace. Its secrets are
-- sealed with the key of src/store/tests.rs. A migration must keep opening it; it is never edited.
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL REFERENCES jobs (id),
    seq INTEGER NOT NULL,
    time INTEGER NOT NULL,
    level TEXT NOT NULL,
    step TEXT NOT NULL,
    op TEXT NOT NULL,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    duration_ms INTEGER,
    message TEXT NOT NULL,
    detail TEXT NOT NULL,
    UNIQUE (job, seq)
) STRICT;
INSERT INTO "events" VALUES(1,'019b76daa80171018101010101010101',1,1767225601000,'info','reset','reset','progress',1,5,'by version 1','{"state":"On"}');
CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    body_sha256 BLOB NOT NULL,
    job TEXT NOT NULL REFERENCES jobs (id),
    at INTEGER NOT NULL
) STRICT;
INSERT INTO "idempotency" VALUES('k',X'0101010101010101010101010101010101010101010101010101010101010101','019b76daa80171018101010101010101',1767225600000);
CREATE TABLE job_labels (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    job TEXT NOT NULL REFERENCES jobs (id),
    PRIMARY KEY (name, value, job)
) STRICT, WITHOUT ROWID;
INSERT INTO "job_labels" VALUES('rack','7','019b76daa80171018101010101010101');
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    server TEXT NOT NULL,
    task_target TEXT NOT NULL,
    status TEXT NOT NULL,
    phase TEXT NOT NULL,
    wake_at INTEGER NOT NULL,
    lease_owner TEXT,
    lease_generation INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER,
    -- Somebody must look at the job at once, whatever wake_at says; claiming it clears this.
    nudged INTEGER NOT NULL DEFAULT 0,
    cancel TEXT,
    event_seq INTEGER NOT NULL DEFAULT 0,
    events_dropped INTEGER NOT NULL DEFAULT 0,
    retry_of TEXT,
    created_at INTEGER NOT NULL,
    last_update INTEGER NOT NULL,
    finished_at INTEGER,
    failed_step TEXT,
    reason TEXT,
    verdict TEXT,
    cursor TEXT NOT NULL,
    facts TEXT NOT NULL
) STRICT;
INSERT INTO "jobs" VALUES('019b76daa80171018101010101010101','A','install-esxi.target','provisioning','forward',1767225600000,'me',1,1767225661000,1,'{"force":true}',1,0,NULL,1767225600000,1767225601000,NULL,NULL,NULL,NULL,'{"phase":"forward","step":"validate-recipe","attempt":3,"entered_at":null,"failing_since":null,"wake_at":"2026-01-01T00:00:00Z","intent":null,"attended_since":null}','{"system":null,"installer":null,"task_iso":null,"media_base":null,"cd1":{"slot":null,"insertions":0,"ejected_at":null,"open_since":null,"refused":[]},"cd2":{"slot":null,"insertions":0,"ejected_at":null,"open_since":null,"refused":[]},"override_armed":false,"reset":{"before":null,"started_at":null,"rewinds":0,"starts":0,"unasked_boot":null,"api_before":null,"armed_at":null,"adopted":false,"forced_off":0},"watch":{"polls":0,"effect_at":null,"sources":{},"power":null,"observed_at":null,"silence_ended_at":null,"blind_ms":0,"second_boot":null,"longest_blind_ms":0,"api":null,"hook":null,"disarms":0,"loop_ejects":0,"loop_ended_at":null},"progress":{"installer_bytes_read":0,"installer_bytes_total":0,"ks_read":false},"cleanup":{"disarmed":false,"task":null,"installer":null,"left":[],"released":null},"layout":"dual-cd","session":null,"restored_at":null}');
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
INSERT INTO "meta" VALUES('key_check',X'013BFFFF45D598067FF8735859EC8C1D40FCA95ECF5338EF0DB3804E62E6FA85B5723F5AF18326C67805F1E1628453FA4CD3');
CREATE TABLE recipes (
    job TEXT PRIMARY KEY REFERENCES jobs (id),
    recipe BLOB NOT NULL,
    spec BLOB,
    errors TEXT NOT NULL
) STRICT;
INSERT INTO "recipes" VALUES('019b76daa80171018101010101010101',X'013BFFFF451AEFEAC0C348E056ADD83D401B5ACDDDE2D21503204C0C3752911CF064DDDC9BE9AE1D4A53B8C892452BE50FB477C7E10BC475A0AF3A4B655AC8B8ACF6DD9D3667EE63D053CABB4E937653A65F551A101125DEC165B3338957C8086A35D29C9850E0CD3B8FAEF343EDF36FB4AD34667CC0E1C96B57F54130A174A1675CF47C9F0234FC2E51BC1EC90FA64CB45D55A5C54E188681E6B0591C4A6A52AE1E07F19CBAF9497336066B6447E345E055ECC122C4A222227403A71E80E8BBA4524F9F8D08AE52664A54E58FA3',X'013BFFFF4532DA2BA5CB68E1D957F80316913A286DE541DD67D3DFCFBC001998684550B709D3663CB9C7CA99C1E4987F1076D883026CFF76CB30962DA06312B45A1C056464313D465A79B417C267A7287A83E60597CE179BE2FED44DC26C68EC43C436F6D96461F1B9EAA1D069EF30CD1714D24C438EF13595BC4494356C625283B538C1230E0E77657674FABED85DEF705C7087D38700BF7A1AC0E26C2B70FB31E8E15EABF569F0DDA844A86C9C62F79AAE4268F73BFC5464B8A5A3C54EB9E46AED328B89195D46B17BBACDF537A8F30B2766A63096E4019ACC643272AFE5E669612122407DF482872722ABCE5D17B8553B5CFD002813EF755E1E2B335A54441D6061A3A5A98D4ACAA50080924AD8A4E66DEDE0395112C8B7FEA20268348ABCE7F4C2281A7C5EE8D2BB300E1344EFC37D14FD67489FBB5F7D6DBC4C04B08F980D0E5E74E62B249B354BADB1FDB9462AA8C57AFCE62EDB2885','[]');
CREATE TABLE servers (
    serial TEXT PRIMARY KEY,
    bmc_address TEXT NOT NULL,
    bmc_username TEXT NOT NULL,
    bmc_password BLOB NOT NULL,
    tls TEXT NOT NULL,
    system_id TEXT,
    system_uuid TEXT,
    management_address TEXT,
    protected INTEGER NOT NULL,
    labels TEXT NOT NULL
) STRICT;
INSERT INTO "servers" VALUES('A','https://10.0.0.5/','root',X'013BFFFF45117A66AFCD7E727C3B68289E672C973C7815D0C8954DF471657BBA81F7368B965B947781FCF55334853CFBE6AEA9201E737B87E317CD050E546BEDA1','verify',NULL,NULL,NULL,0,'{"rack":"7"}');
CREATE TABLE traces (
    job TEXT NOT NULL REFERENCES jobs (id),
    medium TEXT NOT NULL,
    trace TEXT NOT NULL,
    PRIMARY KEY (job, medium)
) STRICT, WITHOUT ROWID;
INSERT INTO "traces" VALUES('019b76daa80171018101010101010101','task','{"mode":"streamed","total":0,"read":9,"first_read_at":null,"last_read_at":null,"last_new_read_at":null,"read_through_at":null,"ks_read_at":"2026-01-01T00:00:04Z","reenumerated_at":null,"ks_read_again_at":null,"fault":null,"nonce_read_at":null,"nonce_copied":false,"fault_at":null}');
CREATE UNIQUE INDEX one_active_job_a_server ON jobs (server) WHERE phase <> 'done';
CREATE INDEX active_jobs ON jobs (id) WHERE phase <> 'done';
CREATE INDEX jobs_by_status ON jobs (status, id);
CREATE INDEX jobs_by_server ON jobs (server, id);
CREATE TRIGGER a_verdict_is_final BEFORE UPDATE OF verdict ON jobs
WHEN OLD.verdict IS NOT NULL AND NEW.verdict IS NOT OLD.verdict
BEGIN SELECT RAISE(ABORT, 'a verdict is written once'); END;
CREATE TRIGGER a_decided_status_is_final BEFORE UPDATE OF status ON jobs
WHEN OLD.status IN ('succeeded', 'failed', 'cancelled') AND NEW.status <> OLD.status
BEGIN SELECT RAISE(ABORT, 'a decided status is written once'); END;
CREATE TRIGGER phases_only_advance BEFORE UPDATE OF phase ON jobs
WHEN (OLD.phase = 'done' AND NEW.phase <> 'done') OR (OLD.phase = 'cleanup' AND NEW.phase = 'forward')
BEGIN SELECT RAISE(ABORT, 'a job does not go back'); END;
CREATE INDEX idempotency_by_age ON idempotency (at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',1);
COMMIT;
PRAGMA user_version = 1;
