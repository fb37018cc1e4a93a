meson setup build-install --prefix "$PREFIX" -Dauto_features=disabled
meson install -C build-install --no-rebuild
