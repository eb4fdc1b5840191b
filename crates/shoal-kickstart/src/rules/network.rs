//! Rules about the network.
//!
//! Data only. Invariant: see the table's.

super::rules! {
    NO_NETWORK "KS060" Style [whole = true, warns = true]
        "No network is configured"
        "The installer warns for 30 seconds, and the host asks DHCP for an address."
        "Add `network --bootproto=dhcp --device=` with the MAC address."
        "vmaccepteula\nrootpw q7X!mzr0T\ninstall --firstdisk=local --overwritevmfs\nreboot\n"
        "vmaccepteula\nrootpw q7X!mzr0T\ninstall --firstdisk=local --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n";
    DHCP_WITH_ADDRESS "KS061" Breaks []
        "DHCP and a fixed address exclude each other"
        "With DHCP, which is the default and what a misspelt `--bootproto` becomes, `--ip`, `--netmask` and `--gateway` stop the installation."
        "Write `--bootproto=static`, or remove the address."
        "network --bootproto=dhcp --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0\n";
    STATIC_WITHOUT_IP "KS062" Breaks []
        "A static network has no address"
        "`--bootproto=static` needs `--ip=` on the same line."
        "Add `--ip=`, `--netmask=` and `--gateway=`."
        "network --bootproto=static --device=vmnic0 --netmask=255.255.255.0\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0\n";
    ADDRESS_INVALID "KS063" Breaks []
        "This is not an IPv4 address"
        "The installer stops at an address or netmask that it cannot read. Prefix lengths (`/24`) and blanks do not belong into it; several name servers are separated by a comma alone."
        "Write four decimal numbers: `--ip=10.0.0.11 --netmask=255.255.255.0 --nameserver=10.0.0.2,10.0.0.3`."
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11/24\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0\n";
    GATEWAY_OUTSIDE "KS064" Breaks []
        "The gateway is not in the host's network"
        "The installer stops where the gateway cannot be reached with this address and netmask."
        "Correct the gateway, the address or the netmask."
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0 --gateway=10.0.1.1\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0 --gateway=10.0.0.1\n";
    ADDRESS_RESERVED "KS065" Breaks []
        "The address is the network's own or its broadcast address"
        "The installer refuses both as address and as gateway."
        "Use a host's address."
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.255 --netmask=255.255.255.0\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.254 --netmask=255.255.255.0\n";
    HOSTNAME_INVALID "KS066" Breaks []
        "The host name is not valid"
        "Labels have letters, digits and inner hyphens, up to 63 characters. An underscore stops the installation."
        "Use a hyphen in place of the underscore."
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0 --hostname=esx_01\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0 --hostname=1esx-01\n";
    DEVICE_UNKNOWN "KS067" Breaks []
        "ESXi has no network device of this name"
        "Devices are vmnic0, vmnic1 …, or a MAC address with colons. The installer stops where the device is not found."
        "Write the MAC address of the port."
        "network --bootproto=dhcp --device=eth0\n"
        "network --bootproto=dhcp --device=94:40:c9:00:00:01\n";
    DEVICE_BY_NUMBER "KS068" Style []
        "The network device is named by its number"
        "Which port is vmnic0 depends on slots and versions; a MAC address names one port."
        "Write `--device=` with the MAC address."
        "network --bootproto=dhcp --device=vmnic0\n"
        "network --bootproto=dhcp --device=94:40:c9:00:00:01\n";
    DEVICE_MISSING "KS069" Style []
        "No network device is named"
        "The installer takes the first port, also if no cable is plugged in."
        "Add `--device=` with the MAC address."
        "network --bootproto=dhcp\n"
        "network --bootproto=dhcp --device=94:40:c9:00:00:01\n";
    BOOTPROTO_UNKNOWN "KS071" Lost [warns = true]
        "The value of `--bootproto` is neither dhcp nor static"
        "The installer takes it for dhcp."
        "Write `--bootproto=dhcp` or `--bootproto=static`."
        "network --bootproto=none --device=vmnic0\n"
        "network --bootproto=dhcp --device=vmnic0\n";
    IGNORED_WITH_DHCP "KS072" Lost [warns = true]
        "DHCP overrules the option"
        "With DHCP the installer warns about `--hostname` and `--nameserver` and ignores them."
        "Set them in the DHCP server, in a `%firstboot`, or use a static network."
        "network --bootproto=dhcp --device=vmnic0 --hostname=esx01\n"
        "network --bootproto=dhcp --device=vmnic0\n";
    NETMASK_GUESSED "KS073" Style [warns = true]
        "Netmask or gateway is missing"
        "The installer guesses the missing one from the address, and warns for 30 seconds."
        "Write `--netmask=` and `--gateway=`."
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0 --gateway=10.0.0.1\n";
    VLAN_INVALID "KS074" Lost [warns = true]
        "The VLAN id is out of range"
        "Ids are numbers from 0 to 4095."
        "Correct the number."
        "network --bootproto=dhcp --device=vmnic0 --vlanid=5000\n"
        "network --bootproto=dhcp --device=vmnic0 --vlanid=4095\n";
    PORTGROUP_VALUE "KS075" Lost [warns = true]
        "`--addvmportgroup` has another value than 0, 1, true or false"
        "The installer does not understand the value and uses its default."
        "Write `--addvmportgroup=0` or `--addvmportgroup=1`."
        "network --bootproto=dhcp --device=vmnic0 --addvmportgroup=no\n"
        "network --bootproto=dhcp --device=vmnic0 --addvmportgroup=0\n";
}
