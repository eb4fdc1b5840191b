//! The cache against a scripted source, in process and in paused time: it breaks, lies, redirects
//! and changes on command. Not a test of the wire: that is `tests/it/media/cache.rs`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

pub(in crate::media) mod scripted;

use futures_util::future::join_all;
use http::StatusCode;

use super::*;
use scripted::Source;
use shoal_base::world::TransportErrorKind;
use shoal_image::iso::{BootPlatform, IsoWriter};

const SETTINGS: &str =
    "title=x\nkernel=/b.b00\nkernelopt=runweasel cdromBoot\nmodules=/s.v00\nbuild=8.0.3-0.0.1\n";

/// A small installer; `fill` makes one differ from another.
fn iso(fill: u8) -> Bytes {
    let mut writer = IsoWriter::new("ESXI-8.0U3-1-STANDARD");
    writer.application_id = "ESXIMAGE".to_owned();
    writer.file("/BOOT.CFG", SETTINGS).file("/EFI/BOOT/BOOT.CFG", SETTINGS);
    writer.file("/B.B00", vec![fill; 3 << 19]).file("/S.V00", vec![fill; 5000]);
    writer.file("/ISOLINUX.BIN", vec![1; 2048]).boot(BootPlatform::Bios, "/ISOLINUX.BIN", 4);
    writer.write().unwrap().image.to_vec().into()
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    shoal_base::hex(&sha2::Sha256::digest(bytes))
}

fn url() -> InstallerSource {
    "http://files.test/esxi.iso".parse().unwrap()
}

fn anywhere(_: &Url) -> bool {
    true
}

struct CacheBench {
    dir: tempfile::TempDir,
    source: Source,
    cache: InstallerCache,
}

impl CacheBench {
    fn new() -> CacheBench {
        CacheBench::with_room(64 << 20)
    }

    fn with_room(bytes_max: u64) -> CacheBench {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::new(iso(1));
        let cache = InstallerCache::new(dir.path().join("cache"), bytes_max, source.transport()).unwrap();
        CacheBench { dir, source, cache }
    }

    /// The same directory, after a restart.
    fn restarted(&self) -> InstallerCache {
        InstallerCache::new(self.dir.path().join("cache"), 64 << 20, self.source.transport()).unwrap()
    }

    async fn open(&self) -> Result<Arc<CachedInstaller>, CacheError> {
        self.cache.open(&url(), None, &anywhere).await
    }

    fn file(&self, name: &str, bytes: &[u8]) -> InstallerSource {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        InstallerSource::File(path)
    }

    /// Extensions of the cache's files, sorted.
    fn files(&self) -> Vec<String> {
        let extension = |path: &Path| path.extension().unwrap().to_str().unwrap().to_owned();
        let files = std::fs::read_dir(self.dir.path().join("cache")).unwrap();
        let mut files: Vec<_> = files.map(|file| extension(&file.unwrap().path())).collect();
        files.sort();
        files
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_is_fetched_once_checked_and_served() {
    let bench = CacheBench::new();
    let opened = bench.open().await.unwrap();
    assert_eq!(opened.sha256, sha256(&iso(1)));
    assert_eq!(opened.size, iso(1).len() as u64);
    assert_eq!(opened.installer.version.as_deref(), Some("8.0.3"));
    assert_eq!(opened.bytes(), iso(1));
    assert_eq!(opened.note, None);
    bench.open().await.unwrap();
    assert_eq!(bench.source.log(), ["http://files.test/esxi.iso - -"]);
    assert_eq!(bench.files(), ["iso", "json"]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&bench.dir.path().join("cache")), 0o700);
    for file in std::fs::read_dir(bench.dir.path().join("cache")).unwrap() {
        assert_eq!(mode(&file.unwrap().path()) & 0o077, 0, "for us alone");
    }
}

#[tokio::test(start_paused = true)]
async fn the_patched_image_differs_in_its_boot_options_and_its_tag() {
    let opened = CacheBench::new().open().await.unwrap();
    let patched = opened.patched(KickstartOn::Cd).unwrap();
    assert_eq!(patched.etag(), opened.patched(KickstartOn::Cd).unwrap().etag());
    let installer = shoal_image::installer::recognise(&*patched).unwrap();
    assert!(installer.boots_unattended() && !opened.installer.boots_unattended());
    let usb = opened.patched(KickstartOn::Usb).unwrap();
    assert_ne!(usb.etag(), patched.etag());
    let installer = shoal_image::installer::recognise(&*usb).unwrap();
    assert!(installer.boot_files.iter().all(|file| file.kickstart.as_deref() == Some("usb:/KS.CFG")));
    assert!(!installer.boots_unattended(), "from a CD");
}

#[tokio::test(start_paused = true)]
async fn jobs_share_one_download() {
    let bench = CacheBench::new();
    let opened = join_all((0..20).map(|_| bench.open())).await;
    assert!(opened.into_iter().all(|opened| opened.is_ok()));
    assert_eq!(bench.source.log().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_broken_download_goes_on_where_it_broke() {
    let bench = CacheBench::new();
    bench.source.set(|script| script.breaks = vec![1_100_000, 300_000]);
    let opened = bench.open().await.unwrap();
    assert_eq!(opened.bytes(), iso(1));
    let rest = ["- -", "bytes=1100000- \"v1\"", "bytes=1400000- \"v1\""];
    assert_eq!(bench.source.log(), rest.map(|rest| format!("http://files.test/esxi.iso {rest}")));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_sends_a_byte_now_and_then_is_given_up() {
    let bench = CacheBench::new();
    bench.source.set(|script| script.trickles = Some(std::time::Duration::from_secs(20)));
    let start = tokio::time::Instant::now();
    let error = bench.open().await.err().unwrap();
    assert!(matches!(error, CacheError::Broken { .. }), "{error}");
    assert!(start.elapsed() < std::time::Duration::from_secs(600), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn links_in_the_directory_are_replaced_and_not_followed() {
    let bench = CacheBench::new();
    bench.open().await.unwrap();
    let victim = bench.dir.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    let ours: Vec<_> =
        std::fs::read_dir(bench.dir.path().join("cache")).unwrap().map(|file| file.unwrap().path()).collect();
    let linked = |extension: &str| ours[0].with_extension(extension);
    std::fs::remove_file(linked("iso")).unwrap();
    for extension in ["iso", "part", "part.json", "part.json.new", "json.new"] {
        std::os::unix::fs::symlink(&victim, linked(extension)).unwrap();
    }
    let opened = bench.restarted().open(&url(), None, &anywhere).await.unwrap();
    assert_eq!(opened.bytes(), iso(1));
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    for extension in ["iso", "json"] {
        assert!(std::fs::symlink_metadata(linked(extension)).unwrap().is_file(), "{extension}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_changed_in_the_middle_is_fetched_anew() {
    let bench = CacheBench::new();
    bench.source.set(|script| script.breaks = vec![1_200_000]);
    let opening = bench.open();
    let changing = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        bench.source.set(|script| (script.image, script.etag) = (iso(2), Some("\"v2\"")));
    };
    let (opened, ()) = tokio::join!(opening, changing);
    assert_eq!(opened.unwrap().bytes(), iso(2));
}

#[tokio::test(start_paused = true)]
async fn without_a_validator_a_broken_download_starts_anew() {
    let bench = CacheBench::new();
    bench.source.set(|script| (script.breaks, script.etag) = (vec![1_200_000], None));
    assert_eq!(bench.open().await.unwrap().bytes(), iso(1));
    assert_eq!(bench.source.log(), ["http://files.test/esxi.iso - -"; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_source_without_a_length_is_fetched_to_its_end() {
    let bench = CacheBench::new();
    bench.source.set(|script| script.hides_length = true);
    assert_eq!(bench.open().await.unwrap().bytes(), iso(1));
}

#[tokio::test(start_paused = true)]
async fn a_download_that_brings_nothing_more_is_given_up_and_kept() {
    let bench = CacheBench::new();
    bench.source.set(|script| script.breaks = vec![1_000_000, 0, 0, 0, 0]);
    let error = bench.open().await.err().unwrap();
    assert!(matches!(&error, CacheError::Broken { bytes: 1_000_000, .. }), "{error}");
    assert_eq!(bench.files(), ["json", "part"], "part.json and part");
    bench.source.log();
    let cache = bench.restarted();
    assert_eq!(cache.open(&url(), None, &anywhere).await.unwrap().bytes(), iso(1));
    assert_eq!(bench.source.log(), ["http://files.test/esxi.iso bytes=1000000- \"v1\""]);
}

#[tokio::test(start_paused = true)]
async fn an_opener_that_goes_away_leaves_its_part_to_the_next_one() {
    let bench = CacheBench::new();
    bench.source.set(|script| script.breaks = vec![1_200_000]);
    let opened = tokio::time::timeout(Duration::from_millis(900), bench.open()).await;
    assert!(opened.is_err(), "dropped while it waits for its second try");
    assert_eq!(bench.cache.progress(&url()), None);
    bench.open().await.unwrap();
    assert_eq!(bench.source.log().last().unwrap(), "http://files.test/esxi.iso bytes=1200000- \"v1\"");
}

#[tokio::test(start_paused = true)]
async fn progress_can_be_watched() {
    let bench = CacheBench::new();
    bench.source.set(|script| script.breaks = vec![1_200_000]);
    let watching = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        bench.cache.progress(&url())
    };
    let (opened, seen) = tokio::join!(bench.open(), watching);
    assert_eq!(seen, Some(FetchProgress { bytes: 1_200_000, total: Some(opened.unwrap().size) }));
    assert_eq!(bench.cache.progress(&url()), None);
}

#[tokio::test(start_paused = true)]
async fn every_refusal_has_its_own_error() {
    type Check = fn(&CacheError) -> bool;
    let answered: [(StatusCode, usize, Check); 4] = [
        (StatusCode::NOT_FOUND, 1, |error| matches!(error, CacheError::NotFound { .. })),
        (StatusCode::FORBIDDEN, 1, |error| matches!(error, CacheError::Denied { .. })),
        (StatusCode::IM_A_TEAPOT, 1, |error| matches!(error, CacheError::Refused { .. })),
        (StatusCode::BAD_GATEWAY, 5, |error| matches!(error, CacheError::Refused { .. })),
    ];
    for (status, tries, check) in answered {
        let bench = CacheBench::new();
        bench.source.set(|script| script.answers = vec![(status, None); 9]);
        let error = bench.open().await.err().unwrap();
        assert!(check(&error), "{error}");
        assert_eq!(bench.source.log().len(), tries, "{status}");
    }
    let failed: [(TransportErrorKind, usize, Check); 3] = [
        (TransportErrorKind::Connect, 5, |error| matches!(error, CacheError::Unreachable { .. })),
        (TransportErrorKind::Broken, 5, |error| matches!(error, CacheError::Unreachable { .. })),
        (TransportErrorKind::Certificate, 1, |error| matches!(error, CacheError::Certificate { .. })),
    ];
    for (kind, tries, check) in failed {
        let bench = CacheBench::new();
        bench.source.set(|script| script.fails = Some(kind));
        let error = bench.open().await.err().unwrap();
        assert!(check(&error), "{error}");
        assert_eq!(bench.source.log().len(), tries, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_checksum_names_both_and_keeps_nothing() {
    let bench = CacheBench::new();
    let wrong = "AB".repeat(32);
    let error = bench.cache.open(&url(), Some(&wrong), &anywhere).await.err().unwrap();
    let text = error.to_string();
    assert!(text.contains(&"ab".repeat(32)) && text.contains(&sha256(&iso(1))), "{text}");
    assert!(bench.files().is_empty());
    bench.open().await.unwrap();
    let error = bench.cache.open(&url(), Some(&wrong), &anywhere).await.err().unwrap();
    assert!(matches!(error, CacheError::Sha256 { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_with_the_right_checksum_needs_no_source() {
    let bench = CacheBench::new();
    bench.open().await.unwrap();
    bench.source.set(|script| script.fails = Some(TransportErrorKind::Connect));
    tokio::time::sleep(LOOK_EVERY).await;
    let opened = bench.cache.open(&url(), Some(&sha256(&iso(1)).to_uppercase()), &anywhere).await.unwrap();
    assert_eq!((opened.note.as_deref(), bench.source.log().len()), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_installer_is_refused_and_not_kept() {
    let bench = CacheBench::new();
    bench.source.set(|script| script.image = vec![b'<'; 100_000].into());
    let error = bench.open().await.err().unwrap();
    assert!(matches!(error, CacheError::NotAnInstaller { .. }), "{error}");
    assert!(bench.files().is_empty());
}

#[tokio::test(start_paused = true)]
async fn redirects_go_where_they_are_allowed_to() {
    let here = |location| vec![(StatusCode::FOUND, Some(location))];
    let bench = CacheBench::new();
    bench.source.set(|script| script.answers = here("https://mirror.test/a.iso"));
    bench.open().await.unwrap();
    assert_eq!(bench.source.log()[1], "https://mirror.test/a.iso - -");

    let only_first = |url: &Url| url.host_str() == Some("files.test");
    let bench = CacheBench::new();
    bench.source.set(|script| script.answers = here("http://evil.test/a.iso?secret"));
    let error = bench.cache.open(&url(), None, &only_first).await.err().unwrap().to_string();
    assert!(error.contains("http://evil.test/a.iso,") && !error.contains("secret"), "{error}");
    assert_eq!(bench.source.log().len(), 1, "the other place is not asked");

    let nowhere = |_: &Url| false;
    let error = bench.cache.open(&url(), None, &nowhere).await.err().unwrap();
    assert!(matches!(error, CacheError::NotAllowed { .. }), "{error}");
    for location in ["file:///etc/shadow", "http://"] {
        bench.source.set(|script| script.answers = here(location));
        assert!(bench.open().await.is_err(), "{location}");
    }
    bench.source.set(|script| script.answers = here("/again").repeat(9));
    let error = bench.open().await.err().unwrap();
    assert!(matches!(error, CacheError::Redirects { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_login_in_the_url_is_sent_and_never_shown() {
    let bench = CacheBench::new();
    let source: InstallerSource = "http://me:hunter2@files.test/esxi.iso".parse().unwrap();
    bench.source.set(|script| script.answers = vec![(StatusCode::NOT_FOUND, None)]);
    let error = bench.cache.open(&source, None, &anywhere).await.err().unwrap();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    assert_eq!(bench.source.log(), ["http://files.test/esxi.iso - - login"]);
}

#[tokio::test(start_paused = true)]
async fn a_cached_copy_is_compared_with_its_source_now_and_then() {
    let bench = CacheBench::new();
    bench.open().await.unwrap();
    tokio::time::sleep(LOOK_EVERY).await;
    bench.open().await.unwrap();
    bench.open().await.unwrap();
    assert_eq!(bench.source.log().len(), 2, "a download and one look");

    tokio::time::sleep(LOOK_EVERY).await;
    bench.source.set(|script| script.ignores_conditions = true);
    bench.open().await.unwrap();
    assert_eq!(bench.source.log().len(), 1, "the same headers are the same image");

    tokio::time::sleep(LOOK_EVERY).await;
    bench.source.set(|script| (script.image, script.etag) = (iso(2), Some("\"v2\"")));
    assert_eq!(bench.open().await.unwrap().sha256, sha256(&iso(2)));
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_source_cannot_be_asked_is_used_with_a_word() {
    let bench = CacheBench::new();
    bench.open().await.unwrap();
    tokio::time::sleep(LOOK_EVERY).await;
    bench.source.set(|script| script.fails = Some(TransportErrorKind::Connect));
    let note = bench.open().await.unwrap().note.clone().unwrap();
    assert!(note.contains("http://files.test/esxi.iso cannot be reached"), "{note}");
    bench.source.set(|script| (script.fails, script.answers) = (None, vec![(StatusCode::NOT_FOUND, None)]));
    let error = bench.open().await.err().unwrap();
    assert!(matches!(error, CacheError::NotFound { .. }), "a source that says no is believed: {error}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_what_is_whole_and_untouched() {
    let bench = CacheBench::new();
    bench.open().await.unwrap();
    bench.source.log();
    bench.restarted().open(&url(), None, &anywhere).await.unwrap();
    assert_eq!(bench.source.log().len(), 1, "a look");
    let cached = std::fs::read_dir(bench.dir.path().join("cache")).unwrap().map(|file| file.unwrap().path());
    let iso_path = cached.into_iter().find(|path| path.extension().unwrap() == "iso").unwrap();
    std::fs::set_permissions(&iso_path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&iso_path, b"touched").unwrap();
    let opened = bench.restarted().open(&url(), None, &anywhere).await.unwrap();
    assert_eq!(opened.bytes(), iso(1));
}

#[tokio::test(start_paused = true)]
async fn the_least_recently_used_image_that_no_job_has_open_goes_first() {
    let size = iso(1).len() as u64;
    let bench = CacheBench::with_room(2 * size + 1000);
    let sources: Vec<_> = (1..=3).map(|n| bench.file(&format!("{n}.iso"), &iso(n))).collect();
    let first = bench.cache.open(&sources[0], None, &anywhere).await.unwrap();
    let image = first.bytes();
    drop(first);
    bench.cache.open(&sources[1], None, &anywhere).await.unwrap();
    bench.cache.open(&sources[2], None, &anywhere).await.unwrap();
    assert_eq!(bench.files(), ["iso", "iso", "json", "json"]);
    assert_eq!(image, iso(1), "in use, although the oldest");
    let third = bench.cache.open(&sources[2], None, &anywhere).await.unwrap();
    let error = bench.cache.open(&sources[1], None, &anywhere).await.err().unwrap();
    assert!(matches!(error, CacheError::Full { .. }), "{error}");
    drop((image, third));
    bench.cache.open(&sources[1], None, &anywhere).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn files_of_others_in_the_directory_are_left_alone() {
    let size = iso(1).len() as u64;
    let bench = CacheBench::with_room(size + 1000);
    let vendors = bench.dir.path().join("cache/VMware-VMvisor-8.0U3.iso");
    std::fs::write(&vendors, iso(1)).unwrap();
    for n in 1..=2 {
        bench.cache.open(&bench.file(&format!("{n}.iso"), &iso(n)), None, &anywhere).await.unwrap();
    }
    assert!(vendors.exists());
    assert_eq!(bench.files(), ["iso", "iso", "json"], "theirs, and the last one of ours");
}

#[tokio::test(start_paused = true)]
async fn an_image_larger_than_the_cache_is_refused_before_it_is_fetched() {
    for hides_length in [false, true] {
        let bench = CacheBench::with_room(1 << 20);
        bench.source.set(|script| script.hides_length = hides_length);
        let error = bench.open().await.err().unwrap();
        assert!(matches!(error, CacheError::TooLarge { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_local_file_is_copied_and_watched_for_changes() {
    let bench = CacheBench::new();
    let source = bench.file("vendor.iso", &iso(1));
    let opened = bench.cache.open(&source, None, &anywhere).await.unwrap();
    bench.file("vendor.iso", b"truncated");
    assert_eq!(opened.bytes(), iso(1), "what is mapped is ours");
    bench.file("vendor.iso", &iso(2));
    tokio::time::sleep(LOOK_EVERY).await;
    assert_eq!(bench.cache.open(&source, None, &anywhere).await.unwrap().sha256, sha256(&iso(2)));
}

#[tokio::test(start_paused = true)]
async fn a_local_file_that_cannot_be_read_says_why() {
    let bench = CacheBench::new();
    let missing = InstallerSource::File(bench.dir.path().join("none.iso"));
    let error = bench.cache.open(&missing, None, &anywhere).await.err().unwrap();
    assert!(matches!(error, CacheError::LocalFile { .. }), "{error}");
    let directory = InstallerSource::File(bench.dir.path().to_owned());
    let error = bench.cache.open(&directory, None, &anywhere).await.err().unwrap();
    assert!(matches!(error, CacheError::NotAFile { .. }), "{error}");
}

#[test]
fn a_full_disk_differs_from_a_broken_one() {
    let error =
        |kind: std::io::ErrorKind| CacheError::disk("writing", Path::new("/cache/a.part"))(kind.into());
    let full = error(std::io::ErrorKind::StorageFull).to_string();
    assert!(full.contains("/cache is full") && full.contains("INSTALLER_CACHE_DIR"), "{full}");
    assert!(matches!(error(std::io::ErrorKind::PermissionDenied), CacheError::Disk { .. }));
}
