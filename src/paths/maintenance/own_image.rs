//! The image of a job where this controller hosts it: on the task medium, or under a URL of the job's own.
//!
//! On the medium it is files of one extent each, less than 4 GiB, which are the image one after the other: no reader of
//! ISO 9660 needs to know files of several extents. Invariant: the image's bytes are neither copied nor held in memory.

use std::ops::Range;
use std::sync::Arc;

use shoal_image::task_medium::{TaskFile, TaskPlaces};
use shoal_recipe::{ImageSource, Sha256, TaskImage, TaskImageLocation};
use url::Url;

use super::asked;
use crate::domain::{FailureCode, Job, JobSpec};
use crate::flow::{Services, StepError};
use crate::media::{HostImage, Image, MappedImage};

/// The files are `image.000`, `image.001` and so on.
const NAME: &str = "image";

/// An image that this controller hosts.
pub(super) struct OwnImage {
    image: MappedImage,
    sha256: Sha256,
    is_on_medium: bool,
}

impl OwnImage {
    /// Nothing where the host gets its image from elsewhere.
    pub async fn open(services: &Services, spec: &JobSpec) -> Result<Option<OwnImage>, StepError> {
        let spec = asked(spec)?;
        let Some(sha256) = spec.hosted_image() else { return Ok(None) };
        let image = services.images.open(sha256).await;
        let image = image.map_err(|error| {
            StepError::permanent_from(FailureCode::ImageUnavailable, "opening the image", error)
        })?;
        Ok(Some(OwnImage { image, sha256, is_on_medium: spec.recipe.image.source == ImageSource::Media }))
    }

    /// Its files on the task medium; none where the host downloads it.
    pub fn parts(&self) -> Vec<TaskFile> {
        match self.is_on_medium {
            true => TaskFile::parts(NAME, self.image.size()),
            false => Vec::new(),
        }
    }

    /// Where the parts lie.
    pub fn places(&self, places: &TaskPlaces) -> Vec<Range<u64>> {
        self.parts().iter().filter_map(|part| places.files.get(&part.name).cloned()).collect()
    }

    /// The medium with the image in the places that were left for it.
    pub fn fill(&self, medium: Image, places: &TaskPlaces) -> Image {
        match self.is_on_medium {
            true => medium.filled(self.image.bytes(), &self.sha256.to_string(), &self.places(places)),
            false => medium,
        }
    }

    /// Lets the host download it, where it is to.
    pub fn publish(&self, services: &Services, job: &Job) {
        if !self.is_on_medium {
            let (size, sha256) = (self.image.size(), self.sha256.to_string());
            let image = HostImage { size, sha256, source: Arc::new(self.image.clone()) };
            services.media.publish_image(job.id, image);
        }
    }

    /// The image as the agent gets it; `url` is where it is published.
    pub fn task_image(&self, url: Url) -> TaskImage {
        let location = match self.is_on_medium {
            true => TaskImageLocation::Media(self.parts().into_iter().map(|part| part.name).collect()),
            false => TaskImageLocation::Url(url),
        };
        TaskImage { location, sha256: self.sha256, size: Some(self.image.size()) }
    }
}
