//! Rules about the network.
//!
//! Data only. Invariant: see the table's.

super::rules! {
    NO_NETWORK "KS060" Style [whole = true, warns = true]
        "No network is configured"
        "The installer shows a warning for 30 seconds, and the host uses DHCP."
        "Add `network --bootproto=dhcp --device=` with the MAC address of the port."
        "vmaccepteula\nrootpw q7X!mzr0T\ninstall --firstdisk=local --overwritevmfs\nreboot\n"
        "vmaccepteula\nrootpw q7X!mzr0T\ninstall --firstdisk=local --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n";
    DHCP_WITH_ADDRESS "KS061" Breaks []
        "DHCP and a static address are mutually exclusive"
        "With DHCP, which is the default and also used for an invalid `--bootproto`, the installer stops with an error at `--ip`, `--netmask` and `--gateway`."
        "Use `--bootproto=static`, or remove the address."
        "network --bootproto=dhcp --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0\n";
    STATIC_WITHOUT_IP "KS062" Breaks []
        "A static network has no address"
        "`--bootproto=static` requires `--ip=` on the same line."
        "Add `--ip=`, `--netmask=` and `--gateway=`."
        "network --bootproto=static --device=vmnic0 --netmask=255.255.255.0\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0\n";
    ADDRESS_INVALID "KS063" Breaks []
        "Not an IPv4 address"
        "The installer stops with an error at an address or netmask that it cannot parse. Prefix lengths (`/24`) and blanks are not supported; name servers are separated by a comma only."
        "Write four decimal numbers: `--ip=10.0.0.11 --netmask=255.255.255.0 --nameserver=10.0.0.2,10.0.0.3`."
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11/24\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0\n";
    GATEWAY_OUTSIDE "KS064" Breaks []
        "The gateway is not in the subnet of the host"
        "The installer stops with an error if the gateway cannot be reached with this address and netmask."
        "Correct the gateway, the address or the netmask."
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0 --gateway=10.0.1.1\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0 --gateway=10.0.0.1\n";
    ADDRESS_RESERVED "KS065" Breaks []
        "The address is the network or broadcast address"
        "The installer rejects both, as address and as gateway."
        "Use a host address."
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.255 --netmask=255.255.255.0\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.254 --netmask=255.255.255.0\n";
    HOSTNAME_INVALID "KS066" Breaks []
        "Invalid host name"
        "Labels consist of letters, digits and inner hyphens, up to 63 characters. The installer stops with an error at an underscore."
        "Use a hyphen instead of the underscore."
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0 --hostname=esx_01\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0 --hostname=1esx-01\n";
    DEVICE_UNKNOWN "KS067" Breaks []
        "Not an ESXi network device"
        "Devices are vmnic0, vmnic1 …, or a MAC address with colons. The installer stops with an error if it does not find the device."
        "Use the MAC address of the port."
        "network --bootproto=dhcp --device=eth0\n"
        "network --bootproto=dhcp --device=94:40:c9:00:00:01\n";
    DEVICE_BY_NUMBER "KS068" Style []
        "The network device is selected by number"
        "Which port is vmnic0 depends on slots and on the ESXi version; a MAC address identifies one port."
        "Use the MAC address of the port: `--device=94:40:c9:00:00:01`."
        "network --bootproto=dhcp --device=vmnic0\n"
        "network --bootproto=dhcp --device=94:40:c9:00:00:01\n";
    DEVICE_MISSING "KS069" Style []
        "No network device is selected"
        "The installer uses the first port, even if it has no link."
        "Add `--device=` with the MAC address of the port."
        "network --bootproto=dhcp\n"
        "network --bootproto=dhcp --device=94:40:c9:00:00:01\n";
    BOOTPROTO_UNKNOWN "KS071" Lost [warns = true]
        "The value of `--bootproto` is neither dhcp nor static"
        "The installer uses dhcp."
        "Write `--bootproto=dhcp` or `--bootproto=static`."
        "network --bootproto=none --device=vmnic0\n"
        "network --bootproto=dhcp --device=vmnic0\n";
    IGNORED_WITH_DHCP "KS072" Lost [warns = true]
        "DHCP overrides the option"
        "With DHCP the installer ignores `--hostname` and `--nameserver` with a warning."
        "Configure it on the DHCP server or in `%firstboot`, or use a static network."
        "network --bootproto=dhcp --device=vmnic0 --hostname=esx01\n"
        "network --bootproto=dhcp --device=vmnic0\n";
    NETMASK_GUESSED "KS073" Style [warns = true]
        "Netmask or gateway is missing"
        "The installer derives the missing value from the address, and shows a warning for 30 seconds."
        "Write `--netmask=` and `--gateway=`."
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0 --gateway=10.0.0.1\n";
    VLAN_INVALID "KS074" Lost [warns = true]
        "The VLAN id is out of range"
        "Valid ids are 0 to 4095."
        "Correct the number."
        "network --bootproto=dhcp --device=vmnic0 --vlanid=5000\n"
        "network --bootproto=dhcp --device=vmnic0 --vlanid=4095\n";
    PORTGROUP_VALUE "KS075" Lost [warns = true]
        "Invalid value of `--addvmportgroup`"
        "Valid values are 0, 1, true and false. The installer uses its default."
        "Write `--addvmportgroup=0` or `--addvmportgroup=1`."
        "network --bootproto=dhcp --device=vmnic0 --addvmportgroup=no\n"
        "network --bootproto=dhcp --device=vmnic0 --addvmportgroup=0\n";
}
