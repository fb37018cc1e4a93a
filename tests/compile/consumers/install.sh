meson setup build --prefix "$PREFIX"
meson install -C build --no-rebuild
