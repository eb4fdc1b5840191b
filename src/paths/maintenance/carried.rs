//! The image on the task medium, for hosts without a network.
//!
//! Files of one extent each, less than 4 GiB, which are the image one after the other: no reader of ISO 9660 needs to
//! know files of several extents. Invariant: the image's bytes are neither copied nor held in memory.

use std::ops::Range;

use bytes::Bytes;
use shoal_image::task_medium::{TaskFile, TaskPlaces};
use shoal_recipe::{ImageLocation, ImageSource, Sha256, TaskImage, TaskImageLocation};

use super::asked;
use crate::domain::JobSpec;
use crate::flow::{Services, StepError};

/// The files are `image.000`, `image.001` and so on.
const NAME: &str = "image";

/// The image that a task medium carries.
pub(super) struct CarriedImage {
    pub bytes: Bytes,
    pub sha256: Sha256,
}

impl CarriedImage {
    /// Nothing where the host gets its image otherwise.
    pub async fn open(services: &Services, spec: &JobSpec) -> Result<Option<CarriedImage>, StepError> {
        let image = &asked(spec)?.recipe.image;
        let sha256 = match (image.source, &image.location) {
            (ImageSource::Media, ImageLocation::Url { sha256, .. }) => *sha256,
            (ImageSource::Media, ImageLocation::Hosted { sha256: Some(sha256), .. }) => *sha256,
            (ImageSource::Media, _) => {
                return Err(StepError::permanent(
                    "the task medium carries images that this controller hosts",
                ));
            }
            (ImageSource::Network | ImageSource::Auto, _) => return Ok(None),
        };
        let bytes = services.images.open(sha256).await;
        let bytes = bytes.map_err(|error| StepError::permanent_from("opening the image", error))?;
        Ok(Some(CarriedImage { bytes, sha256 }))
    }

    pub fn parts(&self) -> Vec<TaskFile> {
        TaskFile::parts(NAME, self.bytes.len() as u64)
    }

    /// Where the parts lie.
    pub fn places(&self, places: &TaskPlaces) -> Vec<Range<u64>> {
        self.parts().iter().filter_map(|part| places.files.get(&part.name).cloned()).collect()
    }

    pub fn task_image(&self) -> TaskImage {
        let names = self.parts().into_iter().map(|part| part.name);
        let location = TaskImageLocation::Media(names.collect());
        TaskImage { location, sha256: self.sha256, size: Some(self.bytes.len() as u64) }
    }
}
