//! Additions, and what is left of those that come to nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use shoal_base::world::{Clock, Rng, World};
use url::Url;

use super::*;
use crate::media::cache::tests::scripted::Source;
use crate::store::StoreError;

const ROOM: u64 = 1 << 20;

struct ImagesBench {
    dir: tempfile::TempDir,
    source: Source,
    images: Arc<HostedImages>,
}

impl ImagesBench {
    fn new() -> ImagesBench {
        let (dir, source) = (tempfile::tempdir().unwrap(), Source::new(Bytes::from(vec![7; 300_000])));
        let images = open(dir.path(), &source);
        ImagesBench { dir, source, images }
    }

    fn restart(&mut self) {
        self.images = open(self.dir.path(), &self.source);
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("images").join(name)
    }

    fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    async fn add(&self, bytes: &[u8], new: NewImage) -> Result<AddedImage, ImageError> {
        let mut incoming = self.images.begin(None).await?;
        for piece in bytes.chunks(1000) {
            incoming.append(Bytes::copy_from_slice(piece)).await?;
        }
        incoming.finish(new).await
    }

    async fn fetch(&self, new: NewImage) -> Result<AddedImage, ImageError> {
        let allowed = |url: &Url| url.host_str() == Some("files.test");
        self.images.fetch(&"http://me:pw@files.test/a.raw?sig=1".parse().unwrap(), &allowed, new).await
    }
}

fn open(dir: &Path, source: &Source) -> Arc<HostedImages> {
    let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
    let world = World { clock, rng: Rng::from_seed(1), transport: source.transport() };
    Arc::new(HostedImages::new(dir.join("images"), ROOM, world).unwrap())
}

fn digest(bytes: &[u8]) -> Sha256 {
    use sha2::Digest as _;
    Sha256(sha2::Sha256::digest(bytes).into())
}

fn named(name: &str) -> NewImage {
    NewImage { name: ImageName::parse(name), ..NewImage::default() }
}

#[tokio::test]
async fn an_image_is_there_until_it_is_removed_and_after_a_restart() {
    let mut bench = ImagesBench::new();
    let bytes = vec![1; 5000];
    let added =
        bench.add(&bytes, NewImage { sha256: Some(digest(&bytes)), ..named("debian") }).await.unwrap();
    assert!(added.is_new);
    assert_eq!((added.image.size, added.image.name.as_deref()), (5000, Some("debian")));
    bench.restart();
    assert_eq!(bench.images.list().await.unwrap(), std::slice::from_ref(&added.image));
    for key in ["debian".to_owned(), added.image.sha256.clone()] {
        assert_eq!(bench.images.find(&key.parse().unwrap()).await.unwrap().as_ref(), Some(&added.image));
    }
    let opened = bench.images.open(digest(&bytes)).await.unwrap();
    assert_eq!(opened.bytes(), &bytes);
    let path = bench.path(&format!("{}.img", added.image.sha256));
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o400);
    let change = bench.images.change().await;
    bench.images.remove(&added.image, &change).await.unwrap();
    assert_eq!(bench.files(), [""; 0]);
    assert_eq!(opened.bytes(), &bytes, "a reader goes on");
    assert!(matches!(bench.images.open(digest(&bytes)).await, Err(ImageError::Unknown)));
}

#[tokio::test]
async fn the_same_bytes_are_kept_once_and_a_name_finds_one_image() {
    let bench = ImagesBench::new();
    let first = bench.add(b"one", named("a")).await.unwrap();
    let again = bench.add(b"one", named("b")).await.unwrap();
    assert_eq!((again.is_new, &again.image), (false, &first.image));
    let error = bench.add(b"two", named("a")).await.unwrap_err();
    assert!(
        matches!(&error, ImageError::NameTaken { sha256, .. } if *sha256 == first.image.sha256),
        "{error}"
    );
    assert!(bench.add(b"two", NewImage::default()).await.unwrap().is_new);
    assert_eq!(bench.files().len(), 4);
}

#[tokio::test]
async fn what_is_not_added_leaves_nothing() {
    let mut bench = ImagesBench::new();
    let wrong = NewImage { sha256: Some(Sha256([1; 32])), ..NewImage::default() };
    assert!(matches!(bench.add(b"bytes", wrong).await, Err(ImageError::Sha256 { .. })));
    assert!(matches!(bench.add(b"", NewImage::default()).await, Err(ImageError::Empty)));
    let mut broken_off = bench.images.begin(Some(500_000)).await.unwrap();
    broken_off.append(Bytes::from_static(b"half")).await.unwrap();
    assert_eq!(bench.files().len(), 1);
    assert!(matches!(bench.images.begin(Some(600_000)).await, Err(ImageError::Full { .. })));
    drop(broken_off);
    let mut too_large = bench.images.begin(None).await.unwrap();
    let piece = Bytes::from(vec![0; 700_000]);
    too_large.append(piece.clone()).await.unwrap();
    assert!(matches!(too_large.append(piece).await, Err(ImageError::Full { .. })));
    drop(too_large);
    assert_eq!(bench.files(), [""; 0]);
    assert_eq!(bench.images.used.load(Ordering::Relaxed), 0);
    // As a controller that is killed leaves it.
    for name in [format!("{}.part", "ab".repeat(16)), format!("{}.json", "cd".repeat(32))] {
        std::fs::write(bench.path(&name), "x").unwrap();
    }
    std::fs::write(bench.path("notes.txt"), "an operator's own").unwrap();
    bench.restart();
    assert_eq!(bench.files(), ["notes.txt"]);
}

#[tokio::test]
async fn an_addition_that_cannot_be_recorded_does_not_happen() {
    let bench = ImagesBench::new();
    let record: Record = Box::new(|_| Box::pin(async { Err(StoreError::Closed) }));
    let refused = bench.add(b"one", NewImage { record: Some(record), ..named("a") }).await;
    assert!(matches!(refused, Err(ImageError::Store(_))));
    assert_eq!((bench.files().len(), bench.images.used.load(Ordering::Relaxed)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_image_is_downloaded_from_where_it_may_be() {
    let bench = ImagesBench::new();
    bench.source.set(|script| script.breaks = vec![100_000]);
    let added = bench.fetch(named("a")).await.unwrap();
    assert_eq!((added.image.size, added.image.source.as_deref()), (300_000, Some("http://files.test/a.raw")));
    assert_eq!(bench.files().len(), 2);
    assert!(!bench.fetch(NewImage::default()).await.unwrap().is_new);
    bench.source.log();
    let known = NewImage { sha256: Some(digest(&[7; 300_000])), ..NewImage::default() };
    assert!(!bench.fetch(known).await.unwrap().is_new);
    assert_eq!(bench.source.log(), [""; 0], "it is here already");
    for (status, location, part) in [
        (
            http::StatusCode::FOUND,
            Some("http://elsewhere.test/"),
            "elsewhere.test/, which is under none of the prefixes of IMAGES_ALLOW",
        ),
        (http::StatusCode::NOT_FOUND, None, "(404)"),
    ] {
        bench.source.set(|script| script.answers = vec![(status, location)]);
        let error = bench.fetch(NewImage::default()).await.unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("pw"), "{error}");
    }
    let refused =
        bench.images.fetch(&"http://files.test/".parse().unwrap(), &|_| false, NewImage::default()).await;
    assert!(matches!(refused, Err(ImageError::NotAllowed { .. })));
    bench.source.set(|script| script.image = Bytes::from(vec![8; 800_000]));
    assert!(matches!(bench.fetch(NewImage::default()).await, Err(ImageError::Full { .. })));
    assert_eq!(bench.files().len(), 2);
}

#[tokio::test]
async fn a_file_that_was_changed_is_not_served() {
    let bench = ImagesBench::new();
    let added = bench.add(b"bytes", named("a")).await.unwrap();
    let path = bench.path(&format!("{}.img", added.image.sha256));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"byte").unwrap();
    assert!(matches!(bench.images.open(digest(b"bytes")).await, Err(ImageError::Changed { .. })));
    assert_eq!(bench.images.list().await.unwrap().len(), 1, "it can be removed");
}
