//! Partitions, file systems, the archive, the boot loader: an installation from a root file system.

use std::io::Read;
use std::ops::Range;

use shoal_recipe::{FailedStep, Layout, LayoutPartition};

use super::Installation;
use super::first_boot::FirstBoot;
use super::write::find_loaders;
use crate::block::{BlockDevice, DeviceFile};
use crate::disk::Disk;
use crate::failure::Failure;
use crate::image::{Compression, Firmware, is_archive};
use crate::machine::{Fed, Machine};
use crate::pipeline::stream;
use crate::report::Progress;
use crate::rootfs::{self, Tree, Volumes, install_loader, require_loader};
use crate::table::{self, NewPartition};
use crate::writer::Writer;

impl Installation<'_> {
    /// `is_begun` is set before the first change of the disk. `device` must not be held exclusively: the kernel
    /// mounts partitions of it.
    pub(super) fn unpack(
        &mut self,
        progress: &Progress,
        disk: &Disk,
        device: &DeviceFile,
        layout: &Layout,
        source: &mut (dyn Read + Send),
        is_begun: &mut bool,
    ) -> Result<(), Failure> {
        if self.machine.firmware() == Firmware::Bios {
            return Err(Failure::new(
                FailedStep::Disk,
                "the machine starts by BIOS and partition_layout makes a disk for UEFI: set the machine to UEFI, or \
                 use a whole-disk image",
            ));
        }
        let first_boot = FirstBoot::read(&self.medium, &self.recipe)?;
        let ranges = rootfs::plan(layout, disk.size)
            .map_err(|error| Failure::new(FailedStep::Disk, error.to_string()))?;
        let volumes = Volumes::new(self.machine, &disk.name, layout, &ranges);
        let mut tree = Tree::new(self.machine, &volumes);
        let filled = self.fill(progress, source, &mut tree, |tree| {
            *is_begun = true;
            write_table(self.machine, disk, device, layout, &ranges)?;
            let prepared = volumes
                .appear(self.machine, &disk.name)
                .and_then(|()| volumes.format(self.machine, device, disk.sector))
                .and_then(|()| tree.mount());
            prepared.map_err(|error| Failure::new(FailedStep::Disk, error))
        });
        let completed = filled.and_then(|()| complete(progress, &mut tree, &volumes, &first_boot));
        let closed = tree.close().map_err(|error| Failure::new(FailedStep::Write, error));
        completed.and(closed)?;
        progress.begin("verify", 0);
        volumes.check(self.machine).map_err(|error| Failure::new(FailedStep::Verify, error))?;
        self.log.line("the root file system is unpacked and its file systems are sound");
        self.start_from(disk, device)
    }

    /// Reads the archive to its end and unpacks it. `prepare` makes the tree once the archive was seen to be one.
    fn fill<'t>(
        &self,
        progress: &Progress,
        source: &mut (dyn Read + Send),
        tree: &mut Tree<'t>,
        mut prepare: impl FnMut(&mut Tree<'t>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut tar: Option<Fed> = None;
        let failed = |error: String| Failure::new(FailedStep::Write, error);
        let streamed = stream(source, &progress.bytes, |block| {
            if tar.is_none() {
                require_archive(block)?;
                prepare(tree)?;
                tar = Some(tree.unpack().map_err(failed)?);
            }
            tar.as_mut().map_or(Ok(()), |tar| tar.write(block)).map_err(failed)
        });
        let ended = tar.map_or(Ok(()), |tar| tar.finish().map_err(failed));
        // A source that breaks off makes tar fail too, and is what is wrong.
        self.check_digest(&streamed?)?;
        ended?;
        Ok(())
    }

    fn start_from(&mut self, disk: &Disk, device: &DeviceFile) -> Result<(), Failure> {
        let failed = Failure::of(FailedStep::Verify, "the new partition table cannot be read");
        let mut head = vec![0; table::HEAD_BYTES];
        device.read_fresh(0, &mut head).map_err(failed)?;
        let table =
            table::read(&head).map_err(|error| Failure::new(FailedStep::Verify, error.to_string()))?;
        let esp = table.esp();
        let esp =
            esp.ok_or_else(|| Failure::new(FailedStep::Verify, "the disk has no EFI system partition"))?;
        let loaders = find_loaders(&mut Writer::new(device)?, esp)?;
        self.add_boot_entry(disk, &head, esp, loaders)
    }
}

fn require_archive(block: &[u8]) -> Result<(), Failure> {
    if is_archive(block) {
        return Ok(());
    }
    let what = match Compression::detect(block) {
        Compression::None => "is no tar archive",
        _ => "is compressed twice",
    };
    Err(Failure::new(
        FailedStep::Image,
        format!(
            "the image {what}: partition_layout needs a root file system as a tar archive; a whole-disk image has its \
             own partitions, so leave partition_layout out for one"
        ),
    ))
}

/// The table is the first thing on the disk, and leads to an empty EFI system partition.
fn write_table<'l>(
    machine: &Machine,
    disk: &Disk,
    device: &DeviceFile,
    layout: &'l Layout,
    ranges: &[Range<u64>],
) -> Result<(), Failure> {
    let new = |(partition, range): (&'l LayoutPartition, &Range<u64>)| NewPartition {
        type_guid: partition.type_guid.stored(),
        guid: machine.random_uuid(),
        name: partition.label.as_deref().unwrap_or_default(),
        range: range.clone(),
    };
    let partitions: Vec<NewPartition<'_>> = layout.partitions().iter().zip(ranges).map(new).collect();
    let (head, tail) = table::make(disk.size, disk.sector, machine.random_uuid(), &partitions);
    let mut writer = Writer::new(device)?;
    writer.clear().map_err(Failure::of(FailedStep::Write, "clearing the disk failed"))?;
    // What an earlier file system left there would be found again.
    for range in ranges {
        let start = vec![0; (range.end - range.start).min(table::HEAD_BYTES as u64) as usize];
        device
            .write_at(range.start, &start)
            .map_err(Failure::of(FailedStep::Write, "clearing the disk failed"))?;
    }
    *writer.head() = head;
    writer.commit(&tail)
}

/// Everything behind the archive. The boot loader is last.
fn complete(
    progress: &Progress,
    tree: &mut Tree<'_>,
    volumes: &Volumes,
    first_boot: &FirstBoot,
) -> Result<(), Failure> {
    let not_bootable = |error: String| Failure::new(FailedStep::BootEntry, error);
    let (esp, _) = volumes.esp().map_err(not_bootable)?;
    require_loader(tree, esp).map_err(not_bootable)?;
    tree.write_fstab().map_err(Failure::of(FailedStep::Write, "/etc/fstab cannot be written"))?;
    progress.begin("seed", 0);
    if let FirstBoot::NoCloud(files) = first_boot {
        tree.write_seed(files)
            .map_err(Failure::of(FailedStep::Seed, "the first-boot data cannot be written"))?;
    }
    progress.begin("boot-entry", 0);
    install_loader(tree, esp).map_err(not_bootable)
}
