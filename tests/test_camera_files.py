"""One rig in the calibration files of every tool becomes the same camera."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from crestereo import CameraConfig, SourceError, UsageError
from crestereo.app.settings import ImageSettings
from crestereo.calibration import FISHEYE, Rig, write_calibration
from crestereo.camera_files import read_calibration

SHAPE = HEIGHT, WIDTH = 720, 1280
K1 = np.array([[701.5, 0, 645.25], [0, 702.5, 352.75], [0, 0, 1]])
K2 = np.array([[698.5, 0, 630.5], [0, 699.25, 366.5], [0, 0, 1]])
D1, D2 = np.array([-0.17, 0.025, 2e-4, -3e-4, 1e-3]), np.array([-0.16, 0.02, 1e-4, 2e-4, -1e-3])
TURN = np.array([0.004, 0.012, -0.002])
R, T = cv2.Rodrigues(TURN)[0], np.array([-0.12, 0.0005, -0.0008])
R1, R2, P1, P2, Q = cv2.stereoRectify(K1, D1, K2, D2, (WIDTH, HEIGHT), R, T[:, None], alpha=-1)[:5]
RT = np.vstack([np.column_stack([R, T]), [0, 0, 0, 1]])
BODY = np.vstack(
    [np.column_stack([cv2.Rodrigues(np.array([0.3, -1, 2]))[0], [1, 2, 3]]), [0, 0, 0, 1]]
)
SIDES = ("left", K1, D1, R1, P1), ("right", K2, D2, R2, P2)
EXPECTED = CameraConfig(
    float(np.linalg.norm(T)), P1[0, 0], WIDTH, 0.0, (P1[0, 2], P1[1, 2]), HEIGHT
)  # the definition: stereoRectify of OpenCV, P2[0, 3] = -f |T|


def storage(path, fields):
    file = cv2.FileStorage(str(path), flags=cv2.FILE_STORAGE_WRITE)
    for name, value in fields.items():
        if value is not None:
            file.write(name, value)
    file.release()
    return [path]


def text(path, content):
    path.write_text(content)
    return [path]


def words(matrix):
    return " ".join(repr(float(value)) for value in np.ravel(matrix))


def flat(matrix):
    return np.ravel(matrix).tolist()


RAW_RIG = {"K1": K1, "D1": D1, "K2": K2, "D2": D2, "R": R, "T": T, "image_size": (WIDTH, HEIGHT)}
FULL = {
    "image_width": WIDTH, "image_height": HEIGHT, "K1": K1, "D1": D1, "K2": K2, "D2": D2,
    "R": R, "T": T, "R1": R1, "R2": R2, "P1": P1, "P2": P2, "Q": Q,
}  # fmt: skip
NAMES = {
    "none": {},
    "M": {"K1": "M1", "K2": "M2"},
    "camera": {"K1": "cameraMatrix1", "D1": "distCoef1", "K2": "cameraMatrix2", "D2": "distCoef2"},
    "sides": {"K1": "mtx_left", "D1": "dist_left", "K2": "mtx_right", "D2": "dist_right"},
    "letters": {"K1": "mtxL", "D1": "Distortion_ParamsL", "K2": "mtxR", "D2": "Distortion_ParamsR"},
    "zero": {f"{name}{i}": f"{name}_{i - 1}" for name in "KDRP" for i in (1, 2)},
}  # fmt: skip


def opencv(ending, names=NAMES["none"], without=()):
    fields = {names.get(name, name): FULL[name] for name in FULL if name not in without}
    return lambda folder: storage(folder / f"stereo.{ending}", fields)


def intrinsics_and_extrinsics(folder):
    outer = {name: FULL[name] for name in ("R", "T", "R1", "R2", "P1", "P2", "Q")}
    inner = {name: value for name, value in FULL.items() if name not in outer}
    first = storage(folder / "intrinsics.yml", inner)
    return first + storage(folder / "extrinsics.yml", outer)


def numpy_archive(folder):
    np.savez(folder / "rig.npz", **{**FULL, "image_size": (WIDTH, HEIGHT)})
    return [folder / "rig.npz"]


def camera_info(side, k, d, r, p):
    named = ("camera", k), ("rectification", r), ("projection", p)
    return {
        "image_width": WIDTH, "image_height": HEIGHT, "camera_name": f"stereo/{side}",
        "distortion_model": "plumb_bob",
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": flat(d)},
        **{f"{name}_matrix": {"rows": 3, "cols": len(m[0]), "data": flat(m)} for name, m in named},
    }  # fmt: skip


def ros(folder):
    return [
        text(folder / f"{side[0]}.yaml", yaml.safe_dump(camera_info(*side)))[0] for side in SIDES
    ]


WHOLE = """binning_x: 0
binning_y: 0
roi:
  x_offset: 0
  y_offset: 0
  height: 0
  width: 0
  do_rectify: false
"""


def ros_topic(folder):
    paths = []
    for side, k, d, r, p in SIDES:
        fields = {"height": HEIGHT, "width": WIDTH, "distortion_model": "plumb_bob"}
        fields |= {"D": flat(d), "K": flat(k), "R": flat(r), "P": flat(p)}
        content = "".join(f"{name}: {value}\n" for name, value in fields.items()) + WHOLE
        paths += text(folder / f"{side}.yaml", f"header: \n  seq: 7\n{content}---\n{content}---\n")
    return paths


def euroc(folder):
    paths = []
    poses = BODY, BODY @ np.linalg.inv(RT)
    for (side, k, d, *_), pose in zip(SIDES, poses, strict=True):
        fields = {
            "sensor_type": "camera", "T_BS": {"cols": 4, "rows": 4, "data": flat(pose)},
            "rate_hz": 20, "resolution": [WIDTH, HEIGHT], "camera_model": "pinhole",
            "intrinsics": flat(k[[0, 1, 0, 1], [0, 1, 2, 2]]),
            "distortion_model": "radial-tangential", "distortion_coefficients": flat(d),
        }  # fmt: skip
        paths += text(folder / f"{side}.yaml", yaml.safe_dump(fields, default_flow_style=None))
    return paths


def kalibr(folder, model="radtan", rig=SIDES):
    chain = {}
    for number, (_, k, d, *_) in enumerate(rig):
        chain[f"cam{number}"] = {
            "camera_model": "pinhole", "distortion_model": model, "distortion_coeffs": flat(d),
            "intrinsics": flat(k[[0, 1, 0, 1], [0, 1, 2, 2]]), "resolution": [WIDTH, HEIGHT],
            "T_cam_imu": (np.linalg.inv(BODY)).tolist(), "rostopic": f"/cam{number}/image_raw",
        }  # fmt: skip
    chain["cam1"]["T_cn_cnm1"] = RT.tolist()
    chain["cam2"] = {**chain["cam0"], "T_cn_cnm1": BODY.tolist()}  # a third one
    return text(folder / "camchain.yaml", yaml.safe_dump(chain))


def orb_slam2(folder):
    lines = ["%YAML:1.0", f"Camera.fx: {P1[0, 0]!r}", f"Camera.fy: {P1[1, 1]!r}"]
    lines += [f"Camera.cx: {P1[0, 2]!r}", f"Camera.cy: {P1[1, 2]!r}", "Camera.bFishEye: 0"]
    lines += [f"Camera.{name}: 0.0" for name in ("k1", "k2", "p1", "p2")]
    lines += [f"Camera.bf: {-P2[0, 3]!r}", f"Camera.width: {WIDTH}", f"Camera.height: {HEIGHT}"]
    for side, *matrices in SIDES:
        for name, matrix in zip("KDRP", matrices, strict=True):
            rows, cols = (1, 5) if name == "D" else np.shape(matrix)
            lines += [f"{side.upper()}.{name}: !!opencv-matrix", f"   rows: {rows}"]
            lines += [f"   cols: {cols}", "   dt: d", f"   data:{flat(matrix)}"]
    return text(folder / "EuRoC.yaml", "\n".join([*lines, "Viewer.PointSize:2", ""]))


def orb_slam3(folder):
    lines = ["%YAML:1.0", 'File.version: "1.0"', 'Camera.type: "PinHole"']
    for number, (_, k, d, *_) in enumerate(SIDES, start=1):
        values = [*k[[0, 1, 0, 1], [0, 1, 2, 2]], *d]
        names = "fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3"
        lines += [
            f"Camera{number}.{n}: {v!r}" for n, v in zip(names, map(float, values), strict=True)
        ]
    lines += ["Stereo.T_c1_c2: !!opencv-matrix", "  rows: 4", "  cols: 4", "  dt: f"]
    lines += [f"  data: {flat(np.linalg.inv(RT))}", f"Camera.width: {WIDTH}"]
    return text(folder / "orb.yaml", "\n".join([*lines, f"Camera.height: {HEIGHT}", ""]))


def zed(folder):
    lines = []
    for size, factor in (("FHD", 1.5), ("HD", 1)):
        for side, k, d, *_ in SIDES:
            fx, fy, cx, cy = factor * k[[0, 1, 0, 1], [0, 1, 2, 2]]
            lines += [f"[{side.upper()}_CAM_{size}]", f"fx={fx!r}", f"fy={fy!r}", f"cx={cx!r}"]
            names = "k1", "k2", "p1", "p2", "k3"
            lines += [f"cy={cy!r}", *(f"{n}={v!r}" for n, v in zip(names, d.tolist(), strict=True))]
    lines += [
        "[STEREO]",
        f"Baseline={-1000 * T[0]!r}",
        f"TY={1000 * T[1]!r}",
        f"TZ={1000 * T[2]!r}",
    ]
    for size in ("FHD", "HD"):
        lines += [f"{n}_{size}={v!r}" for n, v in zip(("RX", "CV", "RZ"), TURN, strict=True)]
    return text(
        folder / "SN1234.conf", "\n".join(lines).replace("np.float64(", "").replace(")", "")
    )


def depthai(folder):
    away = BODY @ np.linalg.inv(RT)  # from the right camera to that in the middle
    cameras = []
    for (_, k, d, *_), socket, onward, way in zip(SIDES, (1, 2), (2, 0), (RT, away), strict=True):
        cameras.append([socket, {
            "cameraType": 0, "width": WIDTH, "height": HEIGHT, "intrinsicMatrix": k.tolist(),
            "distortionCoeff": [*d.tolist(), *[0.0] * 9],
            "extrinsics": {
                "rotationMatrix": way[:3, :3].tolist(), "toCameraSocket": onward,
                "translation": dict(zip("xyz", (100 * way[:3, 3]).tolist(), strict=True)),
            },
        }])  # fmt: skip
    cameras.append([0, {**cameras[0][1], "extrinsics": {"toCameraSocket": -1}}])
    return text(folder / "oak.json", json.dumps({"boardName": "OAK", "cameraData": cameras}))


RAW = {
    "OpenCV yml": opencv("yml"),
    "OpenCV xml": opencv("xml"),
    "OpenCV json": opencv("json"),
    "without R1, R2, P1, P2, Q": opencv("yml", without={"R1", "R2", "P1", "P2", "Q"}),
    "without P1, P2": opencv("yml", without={"P1", "P2"}),
    "without R, T": opencv("yml", without={"R", "T"}),
    **{f"names {name}": opencv("yml", names) for name, names in NAMES.items()},
    "two OpenCV files": intrinsics_and_extrinsics,
    "npz": numpy_archive,
    "ROS": ros,
    "ROS topic": ros_topic,
    "EuRoC": euroc,
    "Kalibr": kalibr,
    "ORB-SLAM2": orb_slam2,
    "ORB-SLAM3": orb_slam3,
    "ZED": zed,
    "DepthAI": depthai,
}


def middlebury(folder):
    rows = "; ".join(words(row) for row in P1[:, :3])
    lines = (
        f"cam0=[{rows}]",
        f"cam1=[{rows}]",
        "doffs=0",
        f"baseline={1000 * EXPECTED.baseline_m!r}",
    )
    sizes = f"width={WIDTH}", f"height={HEIGHT}", "ndisp=70"
    return text(folder / "calib.txt", "\n".join([*lines, *sizes]))


def kitti(names, sizes):
    def write(folder):
        lines = [*sizes, "calib_time: 09-Jan-2012 13:57:47"]
        for name, x_m in zip(names, (0.05, 0.05 + EXPECTED.baseline_m), strict=True):
            p = P1.copy()
            p[0, 3] = -P1[0, 0] * x_m
            lines.append(f"{name}: {words(p)}")
        return text(folder / "calib.txt", "\n".join(lines))

    return write


def stereodemo(folder):
    fields = {"width": WIDTH, "height": HEIGHT, "baseline_meters": EXPECTED.baseline_m}
    fields |= {"fx": P1[0, 0], "fy": P1[1, 1], "cx0": P1[0, 2], "cx1": P1[0, 2], "cy": P1[1, 2]}
    extra = {"depth_range": [0.05, 20.0], "left_image_rect_normalized": [0, 0, 1, 1]}
    return text(folder / "stereodemo_calibration.json", json.dumps({**fields, **extra}))


def numpy_q(folder):
    np.save(folder / "Q.npy", Q)
    return [folder / "Q.npy"]


def k_txt(rows):
    def write(folder):
        lines = [words(row) for row in P1[:, :3].reshape(rows, -1)]
        return text(folder / "K.txt", "\n".join([*lines, repr(EXPECTED.baseline_m), ""]))

    return write


RECTIFIED = {
    "OpenCV P1, P2": opencv("yml", without={"K1", "D1", "K2", "D2", "R1", "R2", "Q"}),
    "OpenCV Q": opencv("xml", without=FULL.keys() - {"Q", "image_width", "image_height"}),
    "Q.npy": numpy_q,
    "Q.txt": lambda folder: text(folder / "Q.txt", "\n".join(map(str, Q))),
    "Middlebury": middlebury,
    "K.txt": k_txt(1),
    "K.txt in rows": k_txt(3),
    "KITTI calib.txt": kitti(("P2", "P3"), []),
    "KITTI raw": kitti(("P_rect_02", "P_rect_03"), [f"S_rect_02: {WIDTH:e} {HEIGHT:e}"]),
    "stereodemo": stereodemo,
    "ROS right": lambda folder: ros(folder)[1:],
}
EVERY = {**RAW, **RECTIFIED}


def close_to(camera, expected):
    for name in ("baseline_m", "focal_px", "image_width_px", "image_height_px", "principal_px"):
        assert getattr(camera, name) == pytest.approx(getattr(expected, name), rel=1e-6), name
    assert camera.doffs_px == pytest.approx(expected.doffs_px, abs=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_every_format_gives_the_same_camera(name, tmp_path):
    found = read_calibration(EVERY[name](tmp_path), image_shape=SHAPE)
    close_to(found.camera, EXPECTED)
    assert not found.relative
    assert len(found.notes) == (name == "ROS right")  # a lens, but not both
    assert (found.rectification is None) == (name in RECTIFIED)


POINTS = np.stack(np.meshgrid(np.linspace(20, WIDTH - 20, 7), np.linspace(20, HEIGHT - 20, 5)), -1)


@pytest.mark.parametrize("name", RAW)
def test_every_format_of_raw_cameras_gives_the_same_rectification(name, tmp_path):
    found = read_calibration(RAW[name](tmp_path), image_shape=SHAPE).rectification
    assert (found.shape, found.fisheye) == (SHAPE, False)
    for camera, (_, k, d, r, p) in zip((found.left, found.right), SIDES, strict=True):
        points = POINTS.reshape(-1, 1, 2)
        expected = cv2.undistortPoints(points, k, d, R=r, P=p)
        mapped = cv2.undistortPoints(
            points, camera.matrix, camera.distortion, R=camera.rotation, P=camera.projection
        )
        np.testing.assert_allclose(mapped, expected, atol=1e-5)


@pytest.mark.parametrize("model", ["equidistant", "opencv"])
def test_a_fisheye_is_rectified_like_that_of_the_calibration_tool(model, tmp_path):
    d = np.array([0.01, -0.004, 0.002, -0.0005])
    rig = Rig(SHAPE, FISHEYE, (K1, d), (K2, d), R, T[:, None])
    write_calibration(tmp_path / "rig.yml", rig)
    r1, _, p1, *_ = rig.rectification()
    sides = ("left", K1, d), ("right", K2, d)
    paths = kalibr(tmp_path, model, sides) if model != "opencv" else [tmp_path / "rig.yml"]
    found = read_calibration(paths)
    assert found.rectification.fisheye
    assert found.camera.baseline_m == pytest.approx(np.linalg.norm(T))
    np.testing.assert_allclose(found.rectification.left.rotation, r1, atol=1e-9)
    np.testing.assert_allclose(found.rectification.left.projection, p1[:, :3], atol=1e-6)


def test_cameras_in_the_other_order_are_exchanged(tmp_path):
    back = np.linalg.inv(RT)
    fields = {"image_width": WIDTH, "image_height": HEIGHT, "K1": K2, "D1": D2, "K2": K1, "D2": D1}
    path = storage(tmp_path / "rig.yml", {**fields, "R": back[:3, :3], "T": back[:3, 3]})
    found = read_calibration(path)
    close_to(found.camera, EXPECTED)
    assert "exchanged" in found.notes[0]
    np.testing.assert_array_equal(found.rectification.left.matrix, K1)


def test_cameras_above_each_other_are_refused(tmp_path):
    path = storage(
        tmp_path / "rig.yml", {**FULL, "T": T[[1, 0, 2]], "P1": None, "P2": None, "Q": None}
    )
    with pytest.raises(UsageError, match="above the other"):
        read_calibration(path)


def test_rectified_images_with_a_camera_info_need_no_rectification(tmp_path):
    paths = []
    for side, p in (("left", P1), ("right", P2)):
        info = camera_info(side, p[:, :3], np.zeros(5), np.eye(3), p)
        paths += text(tmp_path / f"{side}.yaml", yaml.safe_dump(info))
    # given what a command line gives, with and without a blank
    for comma in (",", ", "):
        found = ImageSettings(calibration=comma.join(map(str, paths))).calibration_for(SHAPE)
        assert found == read_calibration(paths)
    close_to(found.camera, EXPECTED)
    assert found.rectification is None


def test_the_left_camera_info_of_ros_asks_for_the_right_one(tmp_path):
    with pytest.raises(UsageError, match="file of the right camera"):
        read_calibration(ros(tmp_path)[0])


def test_one_sensor_of_euroc_asks_for_both(tmp_path):
    with pytest.raises(UsageError, match="left and the right"):
        read_calibration(euroc(tmp_path)[0])


REALSENSE = {
    "width": 848, "height": 480, "ppx": 424.9, "ppy": 240.7, "fx": 426.6, "fy": 426.5,
    "model": "distortion.brown_conrady", "coeffs": [0.0] * 5,
}  # fmt: skip
OPEN3D = {
    "width": 848,
    "height": 480,
    "intrinsic_matrix": [426.6, 0, 0, 0, 426.5, 0, 424.9, 240.7, 1],
}


@pytest.mark.parametrize("fields", [REALSENSE, OPEN3D])
def test_intrinsics_alone_have_no_baseline(fields, tmp_path):
    found = read_calibration(text(tmp_path / "intrinsics.json", json.dumps(fields)))
    assert found.relative
    close_to(found.camera, CameraConfig(1.0, 426.6, 848, 0.0, (424.9, 240.7), 480))
    assert found.with_baseline(0.05).camera.baseline_m == 0.05


def test_a_self_calibrated_rig_has_no_baseline(tmp_path):
    found = read_calibration(storage(tmp_path / "rig.yml", {**FULL, "scale": "relative"}))
    assert found.relative and found.camera.baseline_m == 1
    assert found.rectification is not None


MIDDLEBURY = """cam0=[999.421 0 294.182; 0 999.421 252.932; 0 0 1]
cam1=[999.421 0 326.96; 0 999.421 252.932; 0 0 1]
doffs=32.778
baseline=193.001
width=741
height=497
ndisp=70
"""


@pytest.mark.parametrize("missing", ["nothing", "doffs=32.778\n"])
def test_doffs_come_from_the_matrices_where_middlebury_does_not_record_them(missing, tmp_path):
    path = text(tmp_path / "calib.txt", MIDDLEBURY.replace(missing, ""))
    expected = CameraConfig(0.193001, 999.421, 741, 32.778, (294.182, 252.932), 497)
    close_to(read_calibration(path).camera, expected)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_text_of_windows_editors_is_read(encoding, tmp_path):
    (tmp_path / "calib.txt").write_bytes(MIDDLEBURY.replace("\n", "\r\n").encode(encoding))
    assert read_calibration(tmp_path / "calib.txt").camera.focal_px == 999.421


@pytest.mark.parametrize("name", ["Q.npy", "K.txt", "KITTI calib.txt"])
def test_files_without_a_size_ask_for_it(name, tmp_path):
    with pytest.raises(UsageError, match="give image_shape"):
        read_calibration(RECTIFIED[name](tmp_path))


def test_numbers_of_a_numpy_archive_are_read(tmp_path):
    k = P1[:, :3]
    np.savez(tmp_path / "rig.npz", K1=k, K2=k, width=WIDTH, height=HEIGHT, baseline=0.1)
    found = read_calibration(tmp_path / "rig.npz")
    assert not found.relative
    assert (found.camera.baseline_m, found.camera.image_width_px) == (0.1, WIDTH)


def test_a_principal_point_in_the_middle_of_other_images_gives_their_size(tmp_path):
    path = text(tmp_path / "K.txt", "577.3 0 319.5\n0 577.3 179.5\n0 0 1\n0.08\n")
    found = read_calibration(path, image_shape=(720, 1280))
    close_to(found.camera, CameraConfig(0.08, 577.3, 640, 0.0, (319.5, 179.5), 360))
    assert re.search("middle of 640x360 images: scaled to 1280x720", found.notes[0])


@pytest.mark.parametrize("size", [(960, 540), (1600, 900), (1920, 1080), (640, 360)])
def test_a_principal_point_off_the_middle_gives_the_size_too(size, tmp_path):
    path = text(tmp_path / "K.txt", "950 0 664.5\n0 950 341.5\n0 0 1\n0.12\n")  # of 1280x720
    found = read_calibration(path, image_shape=size[::-1])
    assert found.fitted(size[::-1]).camera.focal_px == pytest.approx(950 * size[0] / 1280)
    assert "1280x720 images: scaled to" in found.notes[0]


def test_a_size_that_the_principal_point_contradicts_is_doubted(tmp_path):
    # given KITTI's camera, whose principal point is above the middle, and images of 0.75 its size
    path = text(tmp_path / "K.txt", "721.5 0 609.6\n0 721.5 172.9\n0 0 1\n0.54\n")  # of 1242x375
    assert read_calibration(path, image_shape=(375, 1242)).notes == ()
    found = read_calibration(path, image_shape=(281, 931))
    assert "taken as for 931x281 images" in found.notes[0]


def test_a_camera_info_of_a_part_of_the_images_is_refused(tmp_path):
    paths = ros_topic(tmp_path)
    content = paths[1].read_text().replace("height: 0\n  width: 0", "height: 240\n  width: 320")
    text(paths[1], content)
    with pytest.raises(UsageError, match=rf"\(roi\) is 320x240 px of {WIDTH}x{HEIGHT}"):
        read_calibration(paths)


@pytest.mark.parametrize("first", [True, False])
def test_names_nested_deeper_describe_something_else(first, tmp_path):
    rig = {name: np.asarray(value).tolist() for name, value in RAW_RIG.items()}
    other = {"hand_eye": {"R": np.eye(3).tolist(), "T": [-0.5, 0.01, 0.02]},
             "board": {"size": [9, 6]}}  # fmt: skip
    fields = {**other, **rig} if first else {**rig, **other}
    path = text(tmp_path / "rig.json", json.dumps(fields))
    assert read_calibration(path).camera.baseline_m == pytest.approx(EXPECTED.baseline_m)


def test_two_values_of_one_name_are_refused(tmp_path):
    fields = {"stereo": {"T": T.ravel().tolist()}, "hand": {"T": [-0.5, 0.01, 0.02]}}
    path = text(tmp_path / "rig.json", json.dumps(fields))
    with pytest.raises(UsageError, match=r"two values of T: stereo\.T and hand\.T"):
        read_calibration(path, image_shape=SHAPE)


@pytest.mark.parametrize("baseline", [{"baseline": -0.12}, {"bf": -0.12 * 500}])
def test_the_sign_of_a_baseline_is_a_convention(baseline, tmp_path):
    fields = {"fx": 500, "fy": 500, "cx": 319.5, "cy": 239.5, "width": 640, "height": 480}
    found = read_calibration(text(tmp_path / "a.json", json.dumps({**fields, **baseline})))
    assert found.camera.baseline_m == pytest.approx(0.12)


def test_a_unit_in_place_of_a_number_is_refused(tmp_path):
    lines = "fx: 500", "cx: 319.5", "cy: 239.5", "width: 640", "baseline: 120 mm", ""
    path = text(tmp_path / "a.yaml", "\n".join(lines))
    with pytest.raises(UsageError, match="baseline has 'mm' in place of a number"):
        read_calibration(path)


def test_other_arrays_of_a_numpy_archive_do_no_harm(tmp_path):
    points = np.empty(2, object)
    points[:] = [np.zeros((3, 2)), np.zeros((4, 2))]
    maps = np.zeros((1200, 1600, 2), np.float32)  # larger than any calibration
    np.savez(tmp_path / "rig.npz", objpoints=points, map_left=maps, **RAW_RIG)
    found = read_calibration(tmp_path / "rig.npz")
    assert found.camera.baseline_m == pytest.approx(EXPECTED.baseline_m)


def test_a_zed_camera_has_a_section_for_each_resolution(tmp_path):
    found = read_calibration(zed(tmp_path), image_shape=(1080, 1920))
    assert (found.camera.image_width_px, found.camera.image_height_px) == (1920, 1080)
    assert found.camera.focal_px == pytest.approx(1.5 * EXPECTED.focal_px, rel=1e-3)


def test_values_that_are_not_of_a_camera_are_skipped(tmp_path):
    fields = {
        "per view": [[1, 2], [3]],
        "when": "9:30, 1 May",
        "k": None,
        "ok": True,
        "matrix": "no",
    }
    fields |= {"left": {"K": K1.tolist()}, "right": {"K": K2.tolist()}, "baseline": 0.1}
    camera = read_calibration(
        text(tmp_path / "a.json", json.dumps(fields)), image_shape=SHAPE
    ).camera
    assert camera.focal_px == K1[0, 0]
    assert camera.doffs_px == pytest.approx(K2[0, 2] - K1[0, 2])


CHANGES = [
    ({"D2": None}, "the distortion of one of the cameras is missing"),
    ({"K2": None}, "the matrix K of one of the cameras is missing"),
    ({"R": R + 0.01}, "is not a rotation"),
    ({"T": 1000 * T}, "contradictory baselines of 0.12.* and 120"),
    ({"P2": P2 * [[1.1], [1], [1]]}, "different focal lengths"),
    ({"K1": np.diag([-1.0, 1, 1])}, "K is not the matrix of a camera"),
    ({"R1": np.eye(4)}, "R1 has 16 numbers"),
    ({"D1": np.array([0.1, np.nan, 0, 0])}, "D1 has '.Nan' in place of a number"),
    ({"image_width": 0}, "width of the images cannot be"),
    ({"distortion_model": "equidistant"}, "a fisheye has 4 coefficients"),
    ({"camera_model": "omni"}, "camera model omni is not supported"),
    ({"camera_model": "omni", "distortion_model": "radtan"}, "camera model omni is not"),
    ({"distortion_model": "equidistant", "camera_model": "pinhole"}, "a fisheye has 4 coeff"),
    ({"CameraParameters1": 1}, "stereoParameters of MATLAB are not supported"),
]


@pytest.mark.parametrize(("changes", "words"), CHANGES, ids=[words for _, words in CHANGES])
def test_contradictions_are_named(changes, words, tmp_path):
    path = storage(tmp_path / "rig.yml", {**FULL, **changes})
    with pytest.raises(UsageError, match=rf"rig\.yml: .*{words}"):
        read_calibration(path)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"hello\n", b"1 2 3\n4\n", b"%YAML:1.0\n---\na: 1\n", b"cam0=[1]", b"{", b"<a", b"[a]",
        b"%YAML:1.0\n---\nQ: [1,2\nfoo", b"PK\x03\x04", b"\x93NUMPY", b"\x89PNG\r\n\x1a\n\0\0",
        b"[" * 10_000, b"{" * 100_000, b"a: " + b"[" * 1000,
    ],
    ids=lambda content: str(content[:12]),
)  # fmt: skip
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "calib.txt").write_bytes(content)
    with pytest.raises(SourceError, match=r"calib\.txt is not a calibration .* Middlebury.*Kalibr"):
        read_calibration(tmp_path / "calib.txt")


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(SourceError, match="there is no file"):
        read_calibration(tmp_path / "calib.txt")


def test_three_files_are_too_many(tmp_path):
    with pytest.raises(UsageError, match="3 calibration files"):
        read_calibration("a.yaml,b.yaml,c.yaml")


NUMBER = re.compile(rb"-?\d+\.\d+(?:e-?\d+)?|\b\d+\b")
ODD = b"x", b"nan", b"inf", b"-inf", b"1e999", b"0", b"-1", b"", b"1e30", b"[", b"null", b"1 2"


def damaged(data, chance):
    """Cut, flip, remove a line, or replace a number."""
    kind = chance.randrange(4)
    at = chance.randrange(len(data))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
    lines = data.splitlines(keepends=True)
    if kind == 2 and len(lines) > 1:
        del lines[chance.randrange(len(lines))]
        return b"".join(lines)
    numbers = list(NUMBER.finditer(data))
    if not numbers:
        return data[:at]
    number = chance.choice(numbers)
    return data[: number.start()] + chance.choice(ODD) + data[number.end() :]


@pytest.mark.parametrize("name", EVERY)
def test_damaged_files_give_sentences(name, tmp_path):
    chance = random.Random(name)
    paths = EVERY[name](tmp_path)
    for _ in range(30):
        path = chance.choice(paths)
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, chance))
        try:
            camera = read_calibration(paths, image_shape=SHAPE).camera
            assert camera.focal_px > 0
        except (SourceError, UsageError) as error:
            assert Path(path).name in str(error)
            assert len(str(error).splitlines()) == 1
        path.write_bytes(whole)
