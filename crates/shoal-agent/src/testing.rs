//! A machine made of files, for tests.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use shoal_base::world::TlsPolicy;
use shoal_image::iso::IsoWriter;
use shoal_recipe::{
    DiskHints, DiskSelector, Identity, Job, Network, Report, Sha256, Target, TaskImage, TaskImageLocation,
    TaskRecipe, Verify,
};
use url::Url;

use crate::http::Web;
use crate::machine::{Feed, Machine, Programs};

pub struct TestMachine {
    folder: tempfile::TempDir,
    pub programs: FakePrograms,
}

/// What a program does in place of the real one.
type Act = dyn Fn(&[&str]) -> (bool, String) + Send + Sync;

#[derive(Clone, Default)]
pub struct FakePrograms {
    acts: Arc<Mutex<BTreeMap<String, Arc<Act>>>>,
    pub calls: Arc<Mutex<Vec<String>>>,
    /// What was written to the program that was fed last.
    pub fed: Arc<Mutex<Vec<u8>>>,
}

impl FakePrograms {
    pub fn on(&self, program: &str, act: impl Fn(&[&str]) -> (bool, String) + Send + Sync + 'static) {
        self.acts.lock().unwrap().insert(program.to_owned(), Arc::new(act));
    }

    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Programs for FakePrograms {
    fn feed(&self, program: &str, args: &[&str]) -> io::Result<Box<dyn Feed>> {
        let (program, args) = (program.to_owned(), args.iter().map(|arg| (*arg).to_owned()).collect());
        Ok(Box::new(FakeFeed { programs: self.clone(), program, args, bytes: Vec::new() }))
    }

    fn run(&self, program: &str, args: &[&str]) -> io::Result<(bool, String)> {
        self.calls.lock().unwrap().push(format!("{program} {}", args.join(" ")));
        let act = self.acts.lock().unwrap().get(program).cloned();
        act.map(|act| act(args)).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

/// A program that is started once it has got everything.
struct FakeFeed {
    programs: FakePrograms,
    program: String,
    args: Vec<String>,
    bytes: Vec<u8>,
}

impl Feed for FakeFeed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<(bool, String)> {
        *self.programs.fed.lock().unwrap() = self.bytes;
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.programs.run(&self.program, &args)
    }
}

impl TestMachine {
    pub fn new() -> TestMachine {
        TestMachine { folder: tempfile::tempdir().unwrap(), programs: FakePrograms::default() }
    }

    pub fn machine(&self) -> Machine {
        Machine::simulated(self.folder.path(), Box::new(self.programs.clone()))
    }

    pub fn path(&self, absolute: &str) -> PathBuf {
        self.folder.path().join(absolute.trim_start_matches('/'))
    }

    pub fn file(&self, absolute: &str, text: &str) {
        self.bytes(absolute, text.as_bytes());
    }

    pub fn bytes(&self, absolute: &str, bytes: &[u8]) {
        let path = self.path(absolute);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A block device of `size` bytes at a path of sysfs, with further files.
    pub fn block(&self, name: &str, device: &str, size: u64, files: &[(&str, &str)]) {
        self.file(&format!("{device}/size"), &(size / 512).to_string());
        fs::create_dir_all(self.path(&format!("{device}/device"))).unwrap();
        for (file, text) in files {
            self.file(&format!("{device}/{file}"), text);
        }
        let link = self.path(&format!("/sys/block/{name}"));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(self.path(device), link).unwrap();
    }

    /// The bytes of a device.
    pub fn device(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(&format!("/dev/{name}"))).unwrap()
    }
}

/// A web of one image, which notes what is posted.
pub struct FakeWeb {
    pub image: Mutex<Result<Vec<u8>, String>>,
    /// Answers to posts, the first first; then 200.
    pub answers: Mutex<VecDeque<Result<u16, String>>>,
    posted: Mutex<Vec<Report>>,
}

impl Default for FakeWeb {
    fn default() -> FakeWeb {
        FakeWeb { image: Mutex::new(Ok(Vec::new())), answers: Mutex::default(), posted: Mutex::default() }
    }
}

impl FakeWeb {
    pub fn reports(&self) -> Vec<Report> {
        self.posted.lock().unwrap().clone()
    }
}

impl Web for FakeWeb {
    fn post(&self, _url: &Url, body: &[u8]) -> Result<u16, String> {
        self.posted.lock().unwrap().push(serde_json::from_slice(body).unwrap());
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(200))
    }

    fn open(&self, _url: &Url) -> Result<(Box<dyn Read + Send>, Option<u64>), String> {
        let image = self.image.lock().unwrap().clone()?;
        let size = Some(image.len() as u64);
        Ok((Box::new(io::Cursor::new(image)), size))
    }
}

/// A job whose controller is at 10.0.0.5.
pub fn job() -> Job {
    Job {
        id: "0192-job".to_owned(),
        controller_url: None,
        report_url: Some("https://10.0.0.5/report/0123456789abcdef0123".parse().unwrap()),
        tls: TlsPolicy::Verify,
        ca_pem: None,
        hosts: [("ctl".to_owned(), "10.0.0.5".parse().unwrap())].into(),
        signals: true,
    }
}

/// A Linux recipe for the machine with the serial number ABC123 and its disk with the serial number D1.
pub fn recipe() -> TaskRecipe {
    let hints = DiskHints { serial: Some("D1".to_owned()), ..DiskHints::default() };
    TaskRecipe {
        job: job(),
        identity: Identity { serials: vec!["ABC123".to_owned()], uuid: None },
        target: Target::Linux,
        target_disk: DiskSelector::Hints(hints),
        image: TaskImage {
            location: TaskImageLocation::Url("https://10.0.0.5/image".parse().unwrap()),
            sha256: Sha256([0; 32]),
            size: None,
        },
        partition_layout: None,
        network: Network::Dhcp,
        overwrite: false,
        verify: Verify::Full,
    }
}

/// An ISO 9660 image with these files.
pub fn task_iso(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = IsoWriter::new("SHOAL_TASK");
    for (path, bytes) in files {
        writer.file(path, bytes.to_vec());
    }
    writer.write().unwrap().image.to_vec()
}
