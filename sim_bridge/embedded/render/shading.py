"""Once per pixel: colour from the face number, light and fog from tables, box filter, ids and classes."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np
from numba import njit

from .kernels import LAYER_BIAS
from .mesh import Material, Slot
from .weather import DEPTHS, NOISE_SIZE, SKY_STEPS, STEPS_PER_M

_SKY_DEPTH = np.float32(1000.0)
_SKY_TAG, _TERRAIN_TAG, _GRASS = np.uint8(11), np.uint8(10), np.uint8(Material.GRASS)
_NOISE_ORIGIN = np.float32(65536.0)  # keeps coordinates positive, so that truncation is a floor
_ASPHALT, _PAVING, _MARK, _LAMP = (
    int(Material.ASPHALT),
    int(Material.PAVING),
    int(Material.PAINT_MARK),
    int(Material.LAMP),
)
_PAINT, _PAINT_DARK, _BRAKE = int(Slot.PAINT), int(Slot.PAINT_DARK), int(Slot.BRAKE)
_TAIL, _WINDOW = int(Slot.TAIL), int(Material.WINDOW)
_LEFT, _RIGHT, _HEAD, _SHADOW = (
    int(Slot.INDICATOR_LEFT),
    int(Slot.INDICATOR_RIGHT),
    int(Slot.HEAD_LAMP),
    int(Slot.SHADOW),
)

_COLOUR = (
    "void(int64, int32[::1], int32[::1], float64[:,::1], uint8[:,::1], uint8[::1], uint8[::1], uint8[::1], "
    "uint8[::1], uint32[::1], uint8[:,::1], uint8[::1], int8[::1], boolean, uint8[:,::1], uint8[::1], "
    "uint8[::1], uint8[::1], uint32[::1])"
)


@njit(_COLOUR, cache=True, nogil=True)
def colour_actors(
    count,
    row_of,
    model_face,
    normal,
    model_rgb,
    model_material,
    model_tag,
    model_layer,
    model_slot,
    ids,
    colours,
    brake,
    indicator,
    night,
    rgb,
    material,
    tag,
    layer,
    owner,
):
    """Fills the look of emitted actor faces.

    Args:
        count: Emitted faces.
        row_of: (F,) actor row.
        model_face: (F,) model face.
        normal: (F, 3) world normals.
        model_rgb: (M, 3).
        model_material: (M,) Material.
        model_tag: (M,) Tag.
        model_layer: (M,).
        model_slot: (M,) Slot.
        ids: (A,) actor ids.
        colours: (A, 3) RGB.
        brake: (A,) 1 if braking.
        indicator: (A,) -1, 0, 1, 2.
        night: Head lamps are lit.
        rgb: Out, (F, 3).
        material: Out, (F,).
        tag: Out, (F,).
        layer: Out, (F,).
        owner: Out, (F,) actor id.
    """
    for i in range(count):
        row, n = row_of[i], model_face[i]
        slot = model_slot[n]
        red, green, blue = float(model_rgb[n, 0]), float(model_rgb[n, 1]), float(model_rgb[n, 2])
        lit = False
        if slot in (_PAINT, _PAINT_DARK):
            scale = 1.0 if slot == _PAINT else 0.5
            red, green, blue = colours[row, 0] * scale, colours[row, 1] * scale, colours[row, 2] * scale
        elif slot in (_BRAKE, _TAIL) and brake[row] != 0:
            red, green, blue, lit = 255.0, 24.0, 16.0, True
        elif (slot == _LEFT and (indicator[row] == -1 or indicator[row] == 2)) or (
            slot == _RIGHT and indicator[row] >= 1
        ):
            red, green, blue, lit = 255.0, 172.0, 16.0, True
        elif slot == _HEAD and night:
            red, green, blue, lit = 255.0, 250.0, 226.0, True
        elif slot == _TAIL and night:
            red, green, blue, lit = 108.0, 8.0, 8.0, True
        what = model_material[n]
        if what == _LAMP and slot != 0 and not lit:
            what = 0
        if what != _LAMP:
            sun = 0.36 * normal[i, 0] - 0.48 * normal[i, 1] + 0.80 * normal[i, 2]
            factor = 0.60 + 0.14 * normal[i, 2] + 0.325 * max(sun, 0.0)
            red, green, blue = red * factor, green * factor, blue * factor
        rgb[i, 0], rgb[i, 1], rgb[i, 2] = (
            np.uint8(min(red, 255.0)),
            np.uint8(min(green, 255.0)),
            np.uint8(min(blue, 255.0)),
        )
        material[i], tag[i], layer[i] = what, model_tag[n], model_layer[n]
        owner[i] = np.uint32(0) if slot == _SHADOW else ids[row]


_SHADE = (
    "void(float64[::1], float64[:,::1], float64, float64, float64, float64, int64, float32[:,::1], "
    "int32[:,::1], uint8[:,::1], uint8[::1], uint8[::1], uint8[::1], uint32[::1], "
    "float32[:,::1], float32[::1], float32[::1], float32[::1], float32[:,::1], float32[:,::1], float32[::1], "
    "float32[:,::1], uint8[:,:,::1], float32[:,::1], uint32[:,::1], uint8[:,::1])"
)


@njit(_SHADE, cache=True, nogil=True, error_model="numpy")
def shade_pixels(
    eye,
    axes,
    focal,
    cx,
    cy,
    ground_z,
    step,
    inverse_depth,
    face,
    rgb,
    material,
    tag,
    layer,
    owner,
    ambient,
    glow,
    head,
    transmission,
    fog,
    sky,
    grass,
    noise,
    bgra,
    depth_out,
    instance,
    semantic,
):
    """Turns face numbers into the four output pictures, averaging colours over step x step samples.

    Id, class and depth of a pixel are those of one sample: that of the actor with most samples of the pixel
    (the nearest one on a tie), so that they fit the colour.

    Args:
        eye: (3,) camera position.
        axes: (3, 3) rows forward, right, up.
        focal: Pixels of the sample grid.
        cx: Principal point in samples.
        cy: Principal point in samples.
        ground_z: Height of the endless grass.
        step: Samples per pixel and axis, 1 or 2.
        inverse_depth: (H*step, W*step).
        face: (H*step, W*step), -1 where nothing was drawn.
        rgb: (F, 3) colours of faces.
        material: (F,) Material.
        tag: (F,) Tag.
        layer: (F,).
        owner: (F,) actor ids.
        ambient: (materials, 3).
        glow: (materials,).
        head: (DEPTHS,).
        transmission: (DEPTHS,).
        fog: (DEPTHS, 3).
        sky: (SKY_STEPS, 3).
        grass: (3,).
        noise: (NOISE_SIZE, NOISE_SIZE).
        bgra: Out, (H, W, 4).
        depth_out: Out, (H, W).
        instance: Out, (H, W).
        semantic: Out, (H, W).
    """
    height, width = depth_out.shape
    wide = width * step
    one, zero, most = np.float32(1.0), np.float32(0.0), np.float32(1.15)
    share = one / np.float32(step * step)
    mask, shift = NOISE_SIZE - 1, step - 1
    above = np.float32(eye[2] - ground_z)
    f0, f1, f2 = np.float32(axes[0, 0]), np.float32(axes[0, 1]), np.float32(axes[0, 2])
    r0, r1, r2 = np.float32(axes[1, 0]), np.float32(axes[1, 1]), np.float32(axes[1, 2])
    u0, u1, u2 = np.float32(axes[2, 0]), np.float32(axes[2, 1]), np.float32(axes[2, 2])
    eye_x, eye_y = np.float32(eye[0]) + _NOISE_ORIGIN, np.float32(eye[1]) + _NOISE_ORIGIN
    inverse_focal, middle = np.float32(1.0 / focal), np.float32(cx - 0.5)
    dark = head[0] > zero
    sums = np.empty((width, 3), np.float32)
    depths, owners, tags = (
        np.empty((2, wide), np.float32),
        np.empty((2, wide), np.uint32),
        np.empty((2, wide), np.uint8),
    )
    for py in range(height):
        sums[:, :] = zero
        for dy in range(step):
            sy = py * step + dy
            rz = (np.float32(cy) - np.float32(sy) - np.float32(0.5)) * inverse_focal
            base_x, base_y, base_z = f0 + u0 * rz, f1 + u1 * rz, f2 + u2 * rz
            last = -2
            red = green = blue = wobble = floor = bias = zero
            what, kind, who = np.uint8(0), np.uint8(0), np.uint32(0)
            for sx in range(wide):
                ry = (np.float32(sx) - middle) * inverse_focal
                px = sx >> shift
                number = face[sy, sx]
                if number >= 0:
                    if number != last:
                        last = number
                        red, green, blue = (
                            np.float32(rgb[number, 0]),
                            np.float32(rgb[number, 1]),
                            np.float32(rgb[number, 2]),
                        )
                        bias = one + np.float32(layer[number]) * np.float32(LAYER_BIAS)
                        what, who, kind = material[number], owner[number], tag[number]
                        floor = glow[what]
                        rough = what in (_ASPHALT, _PAVING, _MARK)
                        wobble = np.float32(9.0) if rough else zero
                        if what == _WINDOW:
                            red, green = (
                                red + floor * (np.float32(255.0) - red),
                                green + floor * (np.float32(205.0) - green),
                            )
                            blue += floor * (np.float32(120.0) - blue)
                    depth = bias / inverse_depth[sy, sx]
                else:
                    rise = base_z + r2 * ry
                    if rise > np.float32(-1e-3) or above <= zero:
                        depths[dy, sx], owners[dy, sx], tags[dy, sx] = _SKY_DEPTH, np.uint32(0), _SKY_TAG
                        j = min(max(int(rise * np.float32(2.0 * SKY_STEPS)), 0), SKY_STEPS - 1)
                        sums[px, 0] += sky[j, 0]
                        sums[px, 1] += sky[j, 1]
                        sums[px, 2] += sky[j, 2]
                        continue
                    depth = min(above / -rise, _SKY_DEPTH)
                    if last != -1:
                        last = -1
                        red, green, blue, wobble, floor = grass[0], grass[1], grass[2], np.float32(15.0), zero
                        what, who, kind = _GRASS, np.uint32(0), _TERRAIN_TAG
                depths[dy, sx], owners[dy, sx], tags[dy, sx] = depth, who, kind
                add = zero
                if wobble > zero and depth < np.float32(120.0):
                    x = eye_x + depth * (base_x + r0 * ry)
                    y = eye_y + depth * (base_y + r1 * ry)
                    fine = noise[int(x * np.float32(7.0)) & mask, int(y * np.float32(7.0)) & mask]
                    broad = noise[int(x * np.float32(0.9)) & mask, int(y * np.float32(0.9)) & mask]
                    fade = one / (one + depth * np.float32(0.12))
                    add = wobble * (
                        fine * fade + np.float32(0.7) * broad * (np.float32(0.3) + np.float32(0.7) * fade)
                    )
                j = min(int(depth * np.float32(STEPS_PER_M)), DEPTHS - 1)
                lamp = zero
                if dark:
                    off = ry * np.float32(1.5)
                    lamp = head[j] / (one + off * off * off * off)
                    if rz > np.float32(0.02):
                        lamp *= max(one - (rz - np.float32(0.02)) * np.float32(5.0), np.float32(0.25))
                t = transmission[j]
                sums[px, 0] += (
                    max((red + add) * min(max(ambient[what, 0] + lamp, floor), most), zero) * t + fog[j, 0]
                )
                sums[px, 1] += (
                    max((green + add) * min(max(ambient[what, 1] + lamp, floor), most), zero) * t + fog[j, 1]
                )
                sums[px, 2] += (
                    max((blue + add) * min(max(ambient[what, 2] + lamp, floor), most), zero) * t + fog[j, 2]
                )
        for px in range(width):
            for c in range(3):
                bgra[py, px, 2 - c] = np.uint8(min(sums[px, c] * share, np.float32(255.0)))
            bgra[py, px, 3] = np.uint8(255)
            sx, by, bx = px * step, 0, px * step
            if step == 2:
                a, b, c, d = owners[0, sx], owners[0, sx + 1], owners[1, sx], owners[1, sx + 1]
                if not (a == b and a == c and a == d):
                    votes = 0
                    for k in range(4):
                        ky, kx = k >> 1, sx + (k & 1)
                        who = owners[ky, kx]
                        count = int(who == a) + int(who == b) + int(who == c) + int(who == d)
                        if count > votes or (count == votes and depths[ky, kx] < depths[by, bx]):
                            votes, by, bx = count, ky, kx
            depth_out[py, px], instance[py, px], semantic[py, px] = (
                depths[by, bx],
                owners[by, bx],
                tags[by, bx],
            )


_RAIN = "void(uint8[:,:,::1], int64, float64, float64)"


@njit(_RAIN, cache=True, nogil=True)
def rain_streaks(bgra, seed, amount, brightness):
    """Blends slanted streaks into a picture; their places follow from the seed alone.

    Args:
        bgra: In and out, (H, W, 4).
        seed: Any integer.
        amount: 0 .. 1.
        brightness: Grey value of a streak, 0 .. 255.
    """
    height, width = bgra.shape[0], bgra.shape[1]
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)
    for _ in range(int(amount * 0.010 * height * width) + 1):
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        x = int((state >> np.uint64(33)) % np.uint64(width))
        y = int((state >> np.uint64(12)) % np.uint64(height))
        length = 2 + int((state >> np.uint64(50)) % np.uint64(max(height // 14, 2)))
        for k in range(length):
            row, column = y + k, x + k // 4
            if row < height and column < width:
                for c in range(3):
                    old = float(bgra[row, column, c])
                    bgra[row, column, c] = np.uint8(old + 0.28 * (brightness - old))
