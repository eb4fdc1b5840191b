# Sourced by what makes bootable images: boot loaders and bytes at their places.
# shellcheck shell=bash

export SOURCE_DATE_EPOCH=1700000000 MTOOLS_SKIP_CHECK=1

# make_grub FORMAT OUT [MODULE...]: GRUB for x86_64-efi or i386-pc, which runs the configuration on standard input.
make_grub() {
  local format=$1 out=$2 own=''
  shift 2
  [ "$format" != i386-pc ] || own=biosdisk
  { printf 'serial --unit=0 --speed=115200\nterminal_input serial console\nterminal_output serial console\n'
    cat; } >"$out.cfg"
  # shellcheck disable=SC2086  # none or one
  grub-mkimage -O "$format" -p / -c "$out.cfg" -o "$out" $own "$@" part_msdos part_gpt fat iso9660 normal linux \
    search search_fs_file search_label echo serial terminal configfile test reboot
}

# poke IMAGE OFFSET: writes standard input over the bytes at OFFSET.
poke() { dd of="$1" bs=64k seek="$2" oflag=seek_bytes conv=notrunc iflag=fullblock status=none; }

# little_endian NUMBER: its eight bytes.
little_endian() {
  local number=$1 byte
  for ((byte = 0; byte < 8; byte++)); do
    # shellcheck disable=SC2059  # the format is the byte
    printf "\\x$(printf %02x $((number >> (8 * byte) & 255)))"
  done
}

# make_esp IMAGE BYTES LOADER [PATH...]: a FAT volume with the loader at \EFI\BOOT\BOOTX64.EFI and at the paths.
make_esp() {
  local image=$1 bytes=$2 loader=$3 path folder
  shift 3
  truncate -s "$bytes" "$image"
  mformat -i "$image" -v ESP -N 5e5e0001 ::
  for path in EFI/BOOT/BOOTX64.EFI "$@"; do
    folder=''
    while read -r -d / name; do
      folder+=/$name
      mmd -i "$image" -D s "::$folder" 2>/dev/null || true
    done <<<"$path"
    mcopy -i "$image" "$loader" "::/$path"
  done
}
