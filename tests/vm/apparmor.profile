# One that may do everything but read a secret, and one that may do everything: what counts is whose name stands there.
profile dock-box flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  mount,
  umount,
  signal,
  ptrace,
  deny /etc/secret rw,
}

profile dock-other flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  signal,
}
