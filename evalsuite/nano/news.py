"""News in Vietnamese, word-segmented as VietNews is: an invented event, told at length and in one sentence.

The summary names who, what, where and when, all of which the article states; the rest of the article is padding.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from evalsuite.nano.split import is_held_out
from evalsuite.nano.tables import listed
from evalsuite.tasks.cleaning import desegment

_WHO = listed(
    "Công_an|Sở Y_tế|Sở Giáo_dục|Hội Nông_dân|Đoàn Thanh_niên|Ban Quản_lý dự_án|Trường Đại_học|Hội Chữ_thập_đỏ|"
    "Liên_đoàn Bóng_đá|Sở Du_lịch|Bệnh_viện Đa_khoa|Bảo_tàng"
)
_WHERE = listed(
    "Đà_Nẵng|Hà_Nội|Hải_Phòng|Cần_Thơ|Nam_Định|Thái_Bình|Lạng_Sơn|Cà_Mau|Sơn_La|Hà_Tĩnh|Bắc_Ninh|Tây_Ninh|Nghệ_An|"
    "Quảng_Nam|Khánh_Hoà|Bình_Định"
)
_WHAT = listed(
    "khánh_thành một trường_học|tổ_chức lễ_hội hoa|trao {n} suất học_bổng|khám bệnh miễn_phí cho {n} người|"
    "trồng {n} cây xanh|mở lớp dạy bơi cho {n} trẻ_em|bắt {n} người đánh bạc|xử_phạt {n} lái_xe|"
    "khai_mạc giải bóng_đá|sửa_chữa {n} ngôi nhà|phát {n} phần quà|ra_mắt xe_buýt điện|xây {n} cây_cầu|"
    "triển_lãm {n} bức tranh|giới_thiệu {n} món ăn|thu_gom {n} tấn rác"
)
_LEAD = (
    "Ngày {d} , {w} {p} đã {a} .",
    "{w} {p} cho biết , ngày {d} đơn_vị này đã {a} .",
    "Theo {w} {p} , việc {a} diễn ra vào ngày {d} .",
    "Sáng ngày {d} , tại {p} , {w} đã {a} .",
)
_PADDING = (
    "Đây là hoạt_động được chuẩn_bị từ nhiều tháng trước .",
    "Nhiều người_dân đã đến từ rất sớm .",
    "Kinh_phí do các doanh_nghiệp đóng_góp .",
    "Trời mưa to nhưng mọi việc vẫn đúng kế_hoạch .",
    "Lãnh_đạo địa_phương cũng có_mặt .",
    "Một số tuyến đường bị cấm trong buổi sáng .",
    "Người_dân bày_tỏ sự vui_mừng .",
    "Hoạt_động sẽ được lặp lại vào năm sau .",
    "Các em nhỏ rất thích_thú .",
    "“ Chúng_tôi sẽ cố_gắng hơn nữa ” , một cán_bộ nói .",
    "Báo_chí trong nước đưa tin về việc này .",
    "Trước đó , năm ngoái , việc này bị hoãn vì bão .",
    "Ông {m} , {j} , cảm_ơn mọi người .",
    "Bà {m} , {j} , nói rằng bà rất hài_lòng .",
    "Xem thêm tại https://tin_nhanh.example/bai_{k} .",
)
_NAMES = listed(
    "Nguyễn_Văn_Hùng|Trần_Thị_Lan|Lê_Minh_Tuấn|Phạm_Thu_Hà|Vũ_Đức_Long|Hoàng_Kim_Oanh|Đặng_Hữu_Phúc|Bùi_Ngọc_Mai"
)
_JOBS = listed("giám_đốc|hiệu_trưởng|trưởng_phòng|bác_sĩ|phó chủ_tịch|tình_nguyện_viên")


_DETAILS: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: rng.choice(_WHO),
    lambda rng: rng.choice(_WHERE),
    lambda rng: rng.choice(_WHAT).format(n=rng.randint(2, 99)),
    lambda rng: f"{rng.randint(1, 28)}/{rng.randint(1, 12)}",
)
"""Who, where, what and when, as they follow each other in a summary."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """One news item, segmented: syllables of a word joined by `_`, spaces around punctuation."""

    title: str
    article: str
    abstract: str


def draw_story(rng: random.Random, *, held_out: bool) -> Story:
    """A story on the asked side of the held-out rule; the rule looks at its article."""
    while True:
        story = _draw(rng)
        if is_held_out(story.article) == held_out:
            return story


def _draw(rng: random.Random) -> Story:
    who, where, what, date = (draw(rng) for draw in _DETAILS)
    sentences = [rng.choice(_LEAD).format(w=who, p=where, a=what, d=date)]
    for filler in rng.sample(_PADDING, rng.randint(2, 5)):
        sentences.append(filler.format(m=rng.choice(_NAMES), j=rng.choice(_JOBS), k=rng.randint(1, 99)))
    if rng.random() < 0.3:
        lead = sentences.pop(0)
        sentences.insert(1, lead)
    return Story(
        title=f"{who} {where} {what}",
        article=" ".join(sentences),
        abstract=f"{who} {where} {what} vào ngày {date} .",
    )


_SUMMARY = re.compile(
    "({}) ({}) (.+) vào ngày (.+)\\.".format(*("|".join(map(desegment, names)) for names in (_WHO, _WHERE)))
)


def retell(rng: random.Random, summary: str, details: int) -> str:
    """The summary, desegmented, with that many of its four details (who, where, what, when) drawn afresh.

    Raises `ValueError` for a text that is no such summary.
    """
    told = _SUMMARY.fullmatch(summary)
    if told is None:
        raise ValueError(f"expected the desegmented summary of a story of this module; got {summary!r}")
    parts = list(told.groups())
    for at in rng.sample(range(len(parts)), details):
        parts[at] = _other(rng, _DETAILS[at], parts[at])
    return "{} {} {} vào ngày {}.".format(*parts)


def _other(rng: random.Random, draw: Callable[[random.Random], str], than: str) -> str:
    while (drawn := desegment(draw(rng))) == than:
        pass
    return drawn
