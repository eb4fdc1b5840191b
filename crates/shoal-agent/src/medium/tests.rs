//! Task media in drives of simulated machines.

use super::*;
use crate::testing::{TestMachine, recipe, task_iso};

fn found(test: &TestMachine) -> Result<Found, Failure> {
    find(&test.machine(), &Log::new(Vec::new()), || {}).map_err(|missing| missing.failure)
}

fn drive(test: &TestMachine, name: &str, bytes: &[u8]) {
    test.file(&format!("/sys/block/{name}/size"), "8");
    test.bytes(&format!("/dev/{name}"), bytes);
}

fn message(test: &TestMachine) -> String {
    let failure = found(test).err().unwrap();
    assert_eq!(failure.step, FailedStep::Dispatcher);
    failure.message
}

#[test]
fn the_medium_is_found_in_any_drive_beside_others() {
    let test = TestMachine::new();
    test.file("/sys/class/dmi/id/product_serial", "ABC123\n");
    drive(&test, "sr0", &task_iso(&[("/other.txt", b"x")]));
    drive(&test, "sda", &[0; 4096]);
    test.file("/sys/block/sr1/size", "0");
    let iso = task_iso(&[
        ("/recipe.json", recipe().to_json().to_string().as_bytes()),
        ("/user-data", b"#cloud-config\n"),
    ]);
    drive(&test, "sdb", &iso);
    let (medium, read) = found(&test).unwrap();
    assert_eq!((medium.name.as_str(), &read), ("sdb", &recipe()));
    assert_eq!(medium.read("user-data", 100).unwrap().unwrap(), b"#cloud-config\n");
    assert_eq!(medium.read("meta-data", 100).unwrap(), None);
    drive(&test, "sr3", &iso);
    assert!(found(&test).is_ok(), "the same recipe twice is one");
}

#[test]
fn a_drive_that_appears_late_is_waited_for() {
    let test = TestMachine::new();
    test.file("/sys/class/dmi/id/product_serial", "ABC123");
    let (machine, log, mut waits) = (test.machine(), Log::new(Vec::new()), 0);
    let found = find(&machine, &log, || {
        waits += 1;
        if waits == 20 {
            drive(&test, "sr0", &task_iso(&[("/recipe.json", recipe().to_json().to_string().as_bytes())]));
        }
    });
    assert!(found.is_ok() && waits == 20);
}

#[test]
fn no_medium_a_wrong_recipe_and_another_machines_have_messages_of_their_own() {
    let test = TestMachine::new();
    test.file("/sys/class/dmi/id/product_serial", "OTHER");
    assert_eq!(message(&test), "no medium with /recipe.json was found");
    drive(&test, "sr0", &task_iso(&[("/recipe.json", b"{}")]));
    assert!(message(&test).contains("the recipe in sr0 is not valid: /job: is missing"));
    drive(&test, "sr0", &task_iso(&[("/recipe.json", recipe().to_json().to_string().as_bytes())]));
    assert!(
        message(&test).contains("this machine has the serial number OTHER, and the recipe is for ABC123")
    );
    test.file("/sys/class/dmi/id/product_serial", "ABC123");
    let mut second = recipe();
    second.overwrite = !second.overwrite;
    drive(&test, "sr1", &task_iso(&[("/recipe.json", second.to_json().to_string().as_bytes())]));
    assert_eq!(message(&test), "sr0 and sr1 hold different recipes for this machine");
}

#[test]
fn an_image_on_the_medium_is_its_parts_in_order() {
    let test = TestMachine::new();
    test.file("/sys/class/dmi/id/product_serial", "ABC123");
    let recipe = recipe().to_json().to_string();
    let parts: [(&str, &[u8]); 3] =
        [("/recipe.json", recipe.as_bytes()), ("/image.000", &[1; 5000]), ("/image.001", &[2; 3000])];
    drive(&test, "sr0", &task_iso(&parts));
    let (medium, _) = found(&test).unwrap();
    let names = ["image.000".to_owned(), "image.001".to_owned()];
    let (mut reader, size) = medium.parts(&names).unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(size == 8000 && bytes == [[1; 5000].to_vec(), [2; 3000].to_vec()].concat());
    assert!(medium.parts(&["image.002".to_owned()]).err().unwrap().contains("no file image.002"));
}

#[test]
fn signals_are_files_of_the_medium() {
    let test = TestMachine::new();
    test.file("/sys/class/dmi/id/product_serial", "ABC123");
    let recipe = recipe().to_json().to_string();
    drive(&test, "sr0", &task_iso(&[("/recipe.json", recipe.as_bytes()), ("/success", b"s")]));
    let (medium, _) = found(&test).unwrap();
    assert!(medium.signal("success").is_ok());
    assert_eq!(medium.signal("failure").unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn short_names_are_those_of_level_one() {
    for (name, short) in
        [("recipe.json", "recipe.jso"), ("user-data", "user_dat"), ("image.000", "image.000")]
    {
        assert_eq!(short_name(name), short);
    }
}
