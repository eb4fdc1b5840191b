//! The files on a medium of their own.

use super::{TaskContent, TaskFile, TaskMedium, TaskMediumError, TaskPlaces, check_files};
use crate::iso::{IsoWriter, KICKSTART_GAP_BYTES, WriteError};

/// The longest volume identifier.
const VOLUME_ID_MAX: usize = 32;

/// A medium with these files. Behind the shared ones lie those that are alone, in the order given, and behind them
/// those from elsewhere.
pub fn build_task_medium(volume_id: &str, files: &[TaskFile]) -> Result<TaskMedium, TaskMediumError> {
    check_files(files)?;
    let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if volume_id.is_empty() || volume_id.len() > VOLUME_ID_MAX || !volume_id.bytes().all(is_allowed) {
        return Err(WriteError::VolumeId { volume_id: volume_id.to_owned() }.into());
    }
    let mut writer = IsoWriter::new(volume_id);
    writer.application_id = "SHOAL".to_owned();
    writer.rock_ridge = true;
    writer.gap_bytes = KICKSTART_GAP_BYTES;
    for TaskFile { name, content } in files {
        let path = format!("/{name}");
        match content {
            TaskContent::Shared(bytes) => writer.file(&path, bytes.clone()),
            TaskContent::Alone(bytes) => writer.far_file(&path, bytes.clone()),
            TaskContent::Elsewhere(bytes) => writer.hole(&path, *bytes),
        };
    }
    let written = writer.write()?;
    let extents = written.extents.into_iter();
    let files = extents.map(|(path, range)| (path.trim_start_matches('/').to_owned(), range)).collect();
    Ok(TaskMedium { image: written.image, places: TaskPlaces { files, shared_end: written.near_end } })
}
