"""What invented passages are about: kinds of subject, their attributes, the ways of stating and asking one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from evalsuite.nano.tables import listed

_FAMILY = listed("Nguyễn|Trần|Lê|Phạm|Hoàng|Vũ|Đặng|Bùi|Đỗ|Hồ|Ngô|Dương|Phan|Võ|Đinh")
_MIDDLE = listed("Văn|Thị|Minh|Quang|Thanh|Hữu|Ngọc|Đức|Thu|Kim")
_GIVEN = listed(
    "An|Bình|Cường|Dũng|Hà|Hải|Hạnh|Hùng|Hương|Khánh|Lan|Linh|Long|Mai|Nam|Nga|Phong|Phúc|Quân|Sơn|Tâm|Thảo|Thắng|"
    "Trung|Tuấn|Vinh|Yến|Hòa|Lâm|Oanh"
)
_TOWNS = listed(
    "Huế|Đà Nẵng|Hà Nội|Hải Phòng|Cần Thơ|Nam Định|Vinh|Quy Nhơn|Nha Trang|Đà Lạt|Mỹ Tho|Thái Bình|Lạng Sơn|Cà Mau|"
    "Sơn La|Hà Tĩnh|Bắc Ninh|Tây Ninh|Hội An|Pleiku"
)
_SITES = listed(
    "Phú An|Đông Hà|Tân Lập|Yên Sơn|Bình Minh|Hòa Bình|Long Xuyên|An Khê|Kim Sơn|Thanh Lâm|Vĩnh Phú|Xuân Mai"
)
_JOBS = listed("kỹ sư|giáo viên|bác sĩ|họa sĩ|nhạc sĩ|nông dân|thợ mộc|nhà văn|luật sư|phi công|đầu bếp|nhà báo")
_HOBBIES = listed(
    "đọc sách|chơi cờ|câu cá|trồng hoa|vẽ tranh|leo núi|nấu ăn|bơi lội|đánh đàn|nuôi chim|chạy bộ|làm thơ"
)
_BUILT = listed(
    "một trường học|một cây cầu|một thư viện|một bệnh viện|một ngôi chùa|một khu vườn|một nhà máy|một con đường"
)
_MATERIALS = listed("gạch đỏ|gỗ lim|đá trắng|thép|bê tông|tre|đá ong|kính")
_DISHES = listed("phở bò|bánh chưng|bún chả|cơm lam|bánh xèo|cá kho|xôi nếp|chè sen|gỏi cuốn|mì Quảng")
_CROPS = listed("lúa|cà phê|chè|cao su|hồ tiêu|ngô|mía|dừa|cam|nhãn")
_ANIMALS = listed("trâu|ngựa|voi|rồng|hổ|chim hạc|cá chép|phượng hoàng")
_COLOURS = listed("đỏ|vàng|xanh|trắng|tím|nâu|đen|hồng")
_MONTHS = listed(
    "tháng giêng|tháng hai|tháng ba|tháng tư|tháng năm|tháng sáu|tháng bảy|tháng tám|tháng chín|tháng mười"
)
_GOODS = listed("giày|gốm|lụa|giấy|xe đạp|bánh kẹo|đồ gỗ|nón lá|đồng hồ|chăn bông")
_LANDS = listed("Nhật Bản|Pháp|Đức|Hàn Quốc|Ấn Độ|Thái Lan|Lào|Nga|Mỹ|Úc")

Maker = Callable[[random.Random], str]


def _one_of(values: tuple[str, ...]) -> Maker:
    return lambda rng: rng.choice(values)


def _number(low: int, high: int, unit: str = "", step: int = 1) -> Maker:
    return lambda rng: f"{rng.randrange(low, high + 1, step)} {unit}".strip()


def _person(rng: random.Random) -> str:
    return f"{rng.choice(_FAMILY)} {rng.choice(_MIDDLE)} {rng.choice(_GIVEN)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribute:
    """One thing that a passage may state."""

    value: Maker
    statements: tuple[str, ...]
    """With `{s}` for the subject's short name and `{v}` for the value."""
    questions: tuple[str, ...]
    """With `{s}`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One sort of subject."""

    title: Callable[[random.Random], tuple[str, str]]
    """Draws (full name, short name used in the later sentences and the questions)."""
    opening: tuple[str, ...]
    attributes: Mapping[str, Attribute]


def _attribute(value: Maker, statements: str, questions: str) -> Attribute:
    return Attribute(value=value, statements=listed(statements), questions=listed(questions))


_YEAR = _number(1900, 2015)


def _person_title(rng: random.Random) -> tuple[str, str]:
    name = _person(rng)
    return name, name.split()[-1]


def _site_title(kind: str) -> Callable[[random.Random], tuple[str, str]]:
    def draw(rng: random.Random) -> tuple[str, str]:
        name = f"{kind} {rng.choice(_SITES)}"
        return name, name

    return draw


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "người": Kind(
            title=_person_title,
            opening=(
                "{f} là một người được nhiều người biết đến.",
                "Đây là câu chuyện về {f}.",
                "{f} sống cùng gia đình.",
            ),
            attributes={
                "sinh": _attribute(
                    _YEAR,
                    "{s} sinh năm {v}.|{s} chào đời vào năm {v}.",
                    "{s} sinh năm nào?|Năm sinh của {s} là năm nào?",
                ),
                "quê": _attribute(
                    _one_of(_TOWNS),
                    "Quê của {s} ở {v}.|{s} lớn lên ở {v}.",
                    "Quê của {s} ở đâu?|{s} lớn lên ở nơi nào?",
                ),
                "nghề": _attribute(
                    _one_of(_JOBS), "{s} làm nghề {v}.|Nghề của {s} là {v}.", "{s} làm nghề gì?|Nghề của {s} là gì?"
                ),
                "thích": _attribute(
                    _one_of(_HOBBIES),
                    "Khi rảnh, {s} thích {v}.|Sở thích của {s} là {v}.",
                    "{s} thích làm gì?|Sở thích của {s} là gì?",
                ),
                "xây": _attribute(
                    _one_of(_BUILT),
                    "{s} đã góp tiền xây {v}.|Nhờ {s}, làng có thêm {v}.",
                    "{s} đã góp tiền xây gì?|Nhờ {s} mà làng có thêm gì?",
                ),
                "thầy": _attribute(
                    _person, "Thầy dạy của {s} là {v}.|{s} học với thầy {v}.", "Thầy dạy của {s} là ai?|{s} học với ai?"
                ),
                "con": _attribute(
                    _number(2, 9, "người con"),
                    "{s} có {v}.|Gia đình {s} có {v}.",
                    "{s} có mấy người con?|Gia đình {s} có bao nhiêu con?",
                ),
            },
        ),
        "làng": Kind(
            title=_site_title("Làng"),
            opening=("{f} nằm bên một con sông nhỏ.", "{f} là một làng quê yên bình.", "Du khách thường ghé thăm {f}."),
            attributes={
                "lập": _attribute(
                    _YEAR,
                    "{s} được lập vào năm {v}.|{s} có từ năm {v}.",
                    "{s} được lập vào năm nào?|{s} có từ năm nào?",
                ),
                "dân": _attribute(
                    _number(100, 900, "người", 10),
                    "{s} có {v}.|Dân số của {s} là {v}.",
                    "{s} có bao nhiêu người?|Dân số của {s} là bao nhiêu?",
                ),
                "trồng": _attribute(
                    _one_of(_CROPS),
                    "Người dân {s} trồng {v}.|Cây trồng chính của {s} là {v}.",
                    "Người dân {s} trồng gì?|Cây trồng chính của {s} là gì?",
                ),
                "món": _attribute(
                    _one_of(_DISHES),
                    "Món ăn nổi tiếng của {s} là {v}.|{s} nổi tiếng với món {v}.",
                    "Món ăn nổi tiếng của {s} là gì?|{s} nổi tiếng với món nào?",
                ),
                "hội": _attribute(
                    _one_of(_MONTHS),
                    "Lễ hội của {s} diễn ra vào {v}.|{s} mở hội vào {v}.",
                    "Lễ hội của {s} diễn ra vào tháng nào?|{s} mở hội khi nào?",
                ),
                "nghề": _attribute(
                    _one_of(_GOODS),
                    "{s} có nghề làm {v}.|Nghề truyền thống của {s} là làm {v}.",
                    "{s} có nghề làm gì?|Nghề truyền thống của {s} là làm gì?",
                ),
                "trưởng": _attribute(
                    _person,
                    "Trưởng làng của {s} là {v}.|Đứng đầu {s} là {v}.",
                    "Trưởng làng của {s} là ai?|Ai đứng đầu {s}?",
                ),
            },
        ),
        "cầu": Kind(
            title=_site_title("Cầu"),
            opening=("{f} là một công trình đẹp.", "Mỗi ngày có nhiều xe đi qua {f}.", "{f} nối hai bờ sông."),
            attributes={
                "xây": _attribute(
                    _YEAR,
                    "{s} được xây năm {v}.|Người ta khánh thành {s} vào năm {v}.",
                    "{s} được xây năm nào?|Người ta khánh thành {s} vào năm nào?",
                ),
                "dài": _attribute(
                    _number(50, 990, "mét", 10),
                    "{s} dài {v}.|Chiều dài của {s} là {v}.",
                    "{s} dài bao nhiêu?|Chiều dài của {s} là bao nhiêu?",
                ),
                "chất": _attribute(
                    _one_of(_MATERIALS),
                    "{s} được làm bằng {v}.|Vật liệu chính của {s} là {v}.",
                    "{s} được làm bằng gì?|Vật liệu chính của {s} là gì?",
                ),
                "màu": _attribute(
                    _one_of(_COLOURS),
                    "{s} được sơn màu {v}.|Màu sơn của {s} là màu {v}.",
                    "{s} được sơn màu gì?|Màu sơn của {s} là màu gì?",
                ),
                "thiết kế": _attribute(
                    _person,
                    "Người thiết kế {s} là {v}.|{s} do {v} thiết kế.",
                    "Người thiết kế {s} là ai?|{s} do ai thiết kế?",
                ),
                "ở": _attribute(
                    _one_of(_TOWNS), "{s} nằm ở {v}.|{s} thuộc địa phận {v}.", "{s} nằm ở đâu?|{s} thuộc địa phận nào?"
                ),
                "tượng": _attribute(
                    _one_of(_ANIMALS),
                    "Đầu {s} có tượng {v}.|Bên cạnh {s} có tượng {v}.",
                    "Đầu {s} có tượng con gì?|Bên cạnh {s} có tượng gì?",
                ),
            },
        ),
        "công ty": Kind(
            title=_site_title("Công ty"),
            opening=("{f} là một doanh nghiệp gia đình.", "{f} có nhiều khách hàng.", "Báo chí hay viết về {f}."),
            attributes={
                "lập": _attribute(
                    _YEAR,
                    "{s} được thành lập năm {v}.|{s} ra đời vào năm {v}.",
                    "{s} được thành lập năm nào?|{s} ra đời vào năm nào?",
                ),
                "làm": _attribute(
                    _one_of(_GOODS),
                    "{s} sản xuất {v}.|Sản phẩm chính của {s} là {v}.",
                    "{s} sản xuất gì?|Sản phẩm chính của {s} là gì?",
                ),
                "trụ sở": _attribute(
                    _one_of(_TOWNS),
                    "Trụ sở của {s} đặt tại {v}.|{s} có văn phòng chính ở {v}.",
                    "Trụ sở của {s} đặt tại đâu?|{s} có văn phòng chính ở đâu?",
                ),
                "người": _attribute(
                    _number(20, 500, "nhân viên", 10),
                    "{s} có {v}.|Hiện nay {s} thuê {v}.",
                    "{s} có bao nhiêu nhân viên?|Hiện nay {s} thuê bao nhiêu người?",
                ),
                "giám đốc": _attribute(
                    _person,
                    "Giám đốc của {s} là {v}.|Người điều hành {s} là {v}.",
                    "Giám đốc của {s} là ai?|Ai điều hành {s}?",
                ),
                "xuất khẩu": _attribute(
                    _one_of(_LANDS),
                    "{s} bán hàng sang {v}.|Thị trường lớn nhất của {s} là {v}.",
                    "{s} bán hàng sang nước nào?|Thị trường lớn nhất của {s} là nước nào?",
                ),
                "biểu tượng": _attribute(
                    _one_of(_ANIMALS),
                    "Biểu tượng của {s} là con {v}.|Trên cờ của {s} có hình con {v}.",
                    "Biểu tượng của {s} là con gì?|Trên cờ của {s} có hình con gì?",
                ),
            },
        ),
    }
)
