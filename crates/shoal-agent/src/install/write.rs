//! Image, first-boot data, partition table, boot entry: everything that changes the disk.

use std::io::Read;
use std::sync::atomic::Ordering;

use shoal_recipe::{FailedStep, Sha256, Target};

use super::Installation;
use super::first_boot::FirstBoot;
use crate::block::{BlockDevice, DeviceFile};
use crate::disk::Disk;
use crate::esp::{self, FALLBACK, Loader, Loaders};
use crate::failure::Failure;
use crate::image::{Firmware, Host, inspect, refuse_tail};
use crate::nvram;
use crate::pipeline::{Streamed, stream};
use crate::report::Progress;
use crate::table::{self, FitError, Fitted, HEAD_BYTES, Partition, SeedPartition, Table};
use crate::writer::Writer;

const EFIVARS: &str = "/sys/firmware/efi/efivars";
/// The mark of a fixed VHD is in so many bytes at its end.
const FOOTER_BYTES: usize = 512;

impl Installation<'_> {
    /// `is_begun` is set before the first change of the disk.
    pub(super) fn write(
        &mut self,
        progress: &Progress,
        disk: &Disk,
        device: &DeviceFile,
        source: &mut (dyn Read + Send),
        is_begun: &mut bool,
    ) -> Result<(), Failure> {
        let first_boot = FirstBoot::read(&self.medium, &self.recipe)?;
        let seed = first_boot.partition(self.machine);
        let mut writer = Writer::new(device)?;
        let table = self.stream(progress, disk, &mut writer, source, seed, is_begun)?;
        writer.flush()?;
        self.log.line(&format!("{} bytes are written and flushed", writer.written()));
        progress.begin("verify", writer.written());
        writer.verify(self.recipe.verify, |bytes| progress.bytes.store(bytes, Ordering::Relaxed))?;
        progress.begin("seed", 0);
        let fitted = self.fit(writer.head(), &table, disk, seed)?;
        first_boot.write(self.machine, &mut writer, disk, &table, &fitted)?;
        progress.begin("boot-entry", 0);
        if let (Firmware::Uefi, Some(esp)) = (self.machine.firmware(), table.esp()) {
            let loaders = find_loaders(&mut writer, esp)?;
            self.add_boot_entry(disk, writer.head(), esp, loaders)?;
        }
        // Last of all: nothing that can fail comes after the disk can start.
        writer.commit(&fitted.tail)?;
        self.log.line("the image is written and verified");
        Ok(())
    }

    /// Reads the image to its end and writes it, but for what the writer withholds.
    fn stream(
        &self,
        progress: &Progress,
        disk: &Disk,
        writer: &mut Writer<'_, DeviceFile>,
        source: &mut (dyn Read + Send),
        seed: Option<SeedPartition>,
        is_begun: &mut bool,
    ) -> Result<Table, Failure> {
        let host = Host { firmware: self.machine.firmware(), disk_size: disk.size, sector: disk.sector };
        let (mut table, mut footer) = (None, Vec::new());
        let streamed = stream(source, &progress.bytes, |block| {
            if table.is_none() {
                let mut head = block[..block.len().min(HEAD_BYTES)].to_vec();
                let found = inspect(&head, &host)?;
                head.resize(HEAD_BYTES, 0);
                self.fit(&mut head, &found, disk, seed)?;
                table = Some(found);
                *is_begun = true;
                writer.clear().map_err(Failure::of(FailedStep::Write, "clearing the disk failed"))?;
            }
            footer.extend_from_slice(&block[block.len().saturating_sub(FOOTER_BYTES)..]);
            footer.drain(..footer.len().saturating_sub(FOOTER_BYTES));
            writer.write(block)
        })?;
        self.check_digest(&streamed)?;
        refuse_tail(&footer)?;
        table.ok_or_else(|| Failure::new(FailedStep::Image, "the image is empty"))
    }

    pub(super) fn check_digest(&self, streamed: &Streamed) -> Result<(), Failure> {
        let (found, expected) = (Sha256(streamed.sha256), self.recipe.image.sha256);
        self.log.line(&format!("image: {} bytes, {}", streamed.transferred, streamed.compression.name()));
        match found == expected {
            true => Ok(()),
            false => Err(Failure::new(
                FailedStep::Image,
                format!("the image has the SHA-256 {found}, and the recipe says {expected}"),
            )),
        }
    }

    /// Changes the image's table to fit the disk. Windows grows its own partition (`ExtendOSPartition`).
    fn fit(
        &self,
        head: &mut [u8],
        table: &Table,
        disk: &Disk,
        seed: Option<SeedPartition>,
    ) -> Result<Fitted, Failure> {
        let grow = self.recipe.target == Target::Linux;
        table::fit(head, table, disk.size, seed, grow).map_err(|error| {
            let step = match error {
                FitError::NoEntry | FitError::NoRoom => FailedStep::Seed,
                FitError::Table(_) | FitError::NoTable => FailedStep::Image,
            };
            Failure::new(step, error.to_string())
        })
    }

    /// A firmware that refuses the entry starts the fallback, if there is one.
    pub(super) fn add_boot_entry(
        &mut self,
        disk: &Disk,
        head: &[u8],
        esp: &Partition,
        loaders: Loaders,
    ) -> Result<(), Failure> {
        let label = match self.recipe.target {
            Target::Linux => "Linux",
            Target::Windows => "Windows",
        };
        let fallback = || Loader { label: label.to_owned(), path: FALLBACK.to_owned() };
        let loader = loaders.own.unwrap_or_else(fallback);
        match nvram::add_entry(&self.machine.path(EFIVARS), &loader, esp, disk.sector, head) {
            Ok(name) => self.log.line(&format!("boot entry {name}: {} ({})", loader.label, loader.path)),
            Err(error) if loaders.has_fallback => {
                self.warn(format!("the firmware refuses a boot entry, so it must find {FALLBACK}: {error}"));
            }
            Err(error) => {
                return Err(Failure::new(
                    FailedStep::BootEntry,
                    format!("the firmware refuses a boot entry and the image has no {FALLBACK}: {error}"),
                ));
            }
        }
        Ok(())
    }
}

/// What the image's partition holds; what was changed there is read back.
pub(super) fn find_loaders<D: BlockDevice + ?Sized>(
    writer: &mut Writer<'_, D>,
    esp: &Partition,
) -> Result<Loaders, Failure> {
    let range = esp.start..esp.end();
    let loaders = esp::prepare(writer.window(range.clone()))
        .map_err(|error| Failure::new(FailedStep::BootEntry, error.to_string()))?;
    if !loaders.is_copied {
        return Ok(loaders);
    }
    match writer.settle().and_then(|()| esp::holds_copy(writer.window(range))) {
        Ok(true) => Ok(loaders),
        Ok(false) => Err(Failure::new(
            FailedStep::BootEntry,
            format!("the disk returned another {FALLBACK} than was written"),
        )),
        Err(error) => {
            Err(Failure::new(FailedStep::BootEntry, format!("{FALLBACK} cannot be read back: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esp::tests::volume;
    use crate::table::PartitionKind;
    use crate::writer::tests::FakeDisk;

    #[test]
    fn a_fallback_that_reads_back_otherwise_is_a_failure() {
        const MIB: u64 = 1 << 20;
        let kind = PartitionKind::Gpt { type_guid: table::ESP, guid: [1; 16] };
        let esp = Partition { slot: 0, start: MIB, size: 2 * MIB, kind };
        let prepared = |rots_at| {
            let disk = FakeDisk::new(vec![0; 64 << 20]);
            disk.write_at(MIB, &volume(2 << 20, &["EFI/Microsoft/Boot/bootmgfw.efi"])).unwrap();
            disk.rot(rots_at);
            let loaders = find_loaders(&mut Writer::new(&disk).unwrap(), &esp);
            (loaders, disk.bytes())
        };
        let (loaders, bytes) = prepared(None);
        assert!(loaders.unwrap().is_copied);
        let text = b"EFI/Microsoft/Boot/bootmgfw.efi";
        let copy = bytes.windows(text.len()).rposition(|part| part == text).unwrap() as u64;
        let failure = prepared(Some(copy)).0.unwrap_err();
        assert!(
            failure.step == FailedStep::BootEntry && failure.message.contains("returned another"),
            "{failure}"
        );
    }
}
