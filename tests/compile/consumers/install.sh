meson setup build-install --prefix "$PREFIX"
meson install -C build-install --no-rebuild
