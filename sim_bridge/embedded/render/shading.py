"""Once per pixel: colour from the face number, light and fog from tables, box filter, actor ids and classes."""

from __future__ import annotations

import numpy as np
from numba import njit

from .kernels import LAYER_BIAS
from .mesh import Material, Slot
from .weather import DEPTHS, NOISE_SIZE, SKY_STEPS, STEPS_PER_M

_SKY_DEPTH = np.float32(1000.0)
_SKY_TAG, _TERRAIN_TAG = np.uint8(11), np.uint8(10)
_ASPHALT, _PAVING, _MARK, _LAMP = (
    int(Material.ASPHALT),
    int(Material.PAVING),
    int(Material.PAINT_MARK),
    int(Material.LAMP),
)
_PAINT, _PAINT_DARK, _BRAKE = int(Slot.PAINT), int(Slot.PAINT_DARK), int(Slot.BRAKE)
_LEFT, _RIGHT, _HEAD, _SHADOW = (
    int(Slot.INDICATOR_LEFT),
    int(Slot.INDICATOR_RIGHT),
    int(Slot.HEAD_LAMP),
    int(Slot.SHADOW),
)

_COLOUR = (
    "void(int64, int32[::1], int32[::1], float64[:,::1], uint8[:,::1], uint8[::1], uint8[::1], uint8[::1], uint8[::1], "
    "uint32[::1], uint8[:,::1], uint8[::1], int8[::1], boolean, uint8[:,::1], uint8[::1], uint8[::1], uint8[::1], uint32[::1])"
)


@njit(_COLOUR, cache=True, nogil=True)
def colour_actors(  # type: ignore[no-untyped-def]
    count, row_of, model_face, normal, model_rgb, model_material, model_tag, model_layer, model_slot,
    ids, colours, brake, indicator, night, rgb, material, tag, layer, owner,
):  # fmt: skip
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
        if slot == _PAINT or slot == _PAINT_DARK:
            scale = 1.0 if slot == _PAINT else 0.5
            red, green, blue = colours[row, 0] * scale, colours[row, 1] * scale, colours[row, 2] * scale
        elif slot == _BRAKE and brake[row] != 0:
            red, green, blue, lit = 255.0, 24.0, 16.0, True
        elif (slot == _LEFT and (indicator[row] == -1 or indicator[row] == 2)) or (
            slot == _RIGHT and indicator[row] >= 1
        ):
            red, green, blue, lit = 255.0, 172.0, 16.0, True
        elif slot == _HEAD and night:
            red, green, blue, lit = 255.0, 250.0, 226.0, True
        elif slot == _BRAKE and night:
            red, green, blue, lit = 150.0, 12.0, 12.0, True
        what = model_material[n]
        if what == _LAMP and slot != 0 and not lit:
            what = 0
        if not (what == _LAMP):
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
    "void(float64[::1], float64[:,::1], float64, float64, float64, float64, int64, float32[:,::1], int32[:,::1], "
    "uint8[:,::1], uint8[::1], uint8[::1], uint8[::1], uint32[::1], "
    "float32[:,::1], float32[::1], float32[::1], float32[::1], float32[:,::1], float32[:,::1], float32[::1], "
    "float32[:,::1], uint8[:,:,::1], float32[:,::1], uint32[:,::1], uint8[:,::1])"
)


@njit(_SHADE, cache=True, nogil=True)
def shade_pixels(  # type: ignore[no-untyped-def]
    eye, axes, focal, cx, cy, ground_z, step, inverse_depth, face, rgb, material, tag, layer, owner,
    ambient, glow, head, transmission, fog, sky, grass, noise, bgra, depth_out, instance, semantic,
):  # fmt: skip
    """Turns face numbers into the four output pictures, averaging colours over step x step samples.

    Id, class and depth of a pixel are those of one sample: that of the actor with most samples of the pixel (the
    nearest one on a tie), so that they fit the colour.

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
    one = np.float32(1.0)
    share = one / np.float32(step * step)
    mask = NOISE_SIZE - 1
    height_over = np.float32(eye[2] - ground_z)
    sample_depth = np.empty(4, np.float32)
    sample_owner = np.empty(4, np.uint32)
    sample_tag = np.empty(4, np.uint8)
    f0, f1, f2 = np.float32(axes[0, 0]), np.float32(axes[0, 1]), np.float32(axes[0, 2])
    inverse_focal = np.float32(1.0 / focal)
    eye_x, eye_y = np.float32(eye[0]), np.float32(eye[1])
    r0, r1, r2 = np.float32(axes[1, 0]), np.float32(axes[1, 1]), np.float32(axes[1, 2])
    u0, u1, u2 = np.float32(axes[2, 0]), np.float32(axes[2, 1]), np.float32(axes[2, 2])
    samples = step * step
    for py in range(height):
        for px in range(width):
            red = green = blue = np.float32(0.0)
            for k in range(samples):
                sy, sx = py * step + k // step, px * step + k % step
                ry = (np.float32(sx) + np.float32(0.5) - np.float32(cx)) * inverse_focal
                rz = (np.float32(cy) - np.float32(sy) - np.float32(0.5)) * inverse_focal
                number = face[sy, sx]
                rise = f2 + r2 * ry + u2 * rz
                wobble = np.float32(0.0)
                if number >= 0:
                    depth = (one + np.float32(layer[number]) * np.float32(LAYER_BIAS)) / inverse_depth[sy, sx]
                    a, b, c = (
                        np.float32(rgb[number, 0]),
                        np.float32(rgb[number, 1]),
                        np.float32(rgb[number, 2]),
                    )
                    what = material[number]
                    who, kind = owner[number], tag[number]
                    if what == _ASPHALT or what == _PAVING or what == _MARK:
                        wobble = np.float32(9.0)
                elif rise < np.float32(-1e-4) and height_over > np.float32(0.0):
                    depth = min(height_over / -rise, _SKY_DEPTH)
                    a, b, c = grass[0], grass[1], grass[2]
                    what, who, kind = np.uint8(2), np.uint32(0), _TERRAIN_TAG
                    wobble = np.float32(15.0)
                else:
                    depth = _SKY_DEPTH
                    a = b = c = np.float32(0.0)
                    what, who, kind = np.uint8(0), np.uint32(0), _SKY_TAG
                sample_depth[k], sample_owner[k], sample_tag[k] = depth, who, kind
                if kind == _SKY_TAG and number < 0:
                    j = min(max(int(rise * np.float32(2.0 * SKY_STEPS)), 0), SKY_STEPS - 1)
                    red, green, blue = red + sky[j, 0], green + sky[j, 1], blue + sky[j, 2]
                    continue
                if wobble > np.float32(0.0):
                    x = eye_x + depth * (f0 + r0 * ry + u0 * rz)
                    y = eye_y + depth * (f1 + r1 * ry + u1 * rz)
                    fine = noise[
                        int(np.floor(x * np.float32(7.0))) & mask, int(np.floor(y * np.float32(7.0))) & mask
                    ]
                    wide = noise[
                        int(np.floor(x * np.float32(0.9))) & mask, int(np.floor(y * np.float32(0.9))) & mask
                    ]
                    add = wobble * (
                        fine / (one + depth * np.float32(0.12))
                        + np.float32(0.7) * wide / (one + depth * np.float32(0.02))
                    )
                    a, b, c = a + add, b + add, c + add
                j = min(int(depth * np.float32(STEPS_PER_M)), DEPTHS - 1)
                lamp = np.float32(0.0)
                if head[0] > np.float32(0.0):
                    off = ry * np.float32(1.5)
                    lamp = head[j] / (one + off * off * off * off)
                    if rz > np.float32(0.06):
                        lamp *= np.float32(0.35)
                t, floor = transmission[j], glow[what]
                red += (
                    max(a * min(max(ambient[what, 0] + lamp, floor), np.float32(1.15)), np.float32(0.0)) * t
                    + fog[j, 0]
                )
                green += (
                    max(b * min(max(ambient[what, 1] + lamp, floor), np.float32(1.15)), np.float32(0.0)) * t
                    + fog[j, 1]
                )
                blue += (
                    max(
                        c * min(max(ambient[what, 2] + lamp * np.float32(0.9), floor), np.float32(1.15)),
                        np.float32(0.0),
                    )
                    * t
                    + fog[j, 2]
                )
            best = 0
            if samples > 1:
                most = 0
                for k in range(samples):
                    votes = 0
                    for m in range(samples):
                        if sample_owner[m] == sample_owner[k]:
                            votes += 1
                    if votes > most or (votes == most and sample_depth[k] < sample_depth[best]):
                        most, best = votes, k
            bgra[py, px, 0] = np.uint8(min(blue * share, np.float32(255.0)))
            bgra[py, px, 1] = np.uint8(min(green * share, np.float32(255.0)))
            bgra[py, px, 2] = np.uint8(min(red * share, np.float32(255.0)))
            bgra[py, px, 3] = np.uint8(255)
            depth_out[py, px] = sample_depth[best]
            instance[py, px] = sample_owner[best]
            semantic[py, px] = sample_tag[best]


_RAIN = "void(uint8[:,:,::1], int64, float64, float64)"


@njit(_RAIN, cache=True, nogil=True)
def rain_streaks(bgra, seed, amount, brightness):  # type: ignore[no-untyped-def]
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
