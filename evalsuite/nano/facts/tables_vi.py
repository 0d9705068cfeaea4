"""Facts in Vietnamese, as `subject:answer` tables. Common knowledge, written for this project.

Places are given with the provinces as they stood before the mergers of 2025.
"""

from __future__ import annotations

CAPITALS = (
    "Pháp:Paris|Nhật Bản:Tokyo|Ý:Roma|Tây Ban Nha:Madrid|Bồ Đào Nha:Lisboa|Đức:Berlin|Áo:Viên|Hy Lạp:Athens|"
    "Ba Lan:Warszawa|Na Uy:Oslo|Thụy Điển:Stockholm|Phần Lan:Helsinki|Đan Mạch:Copenhagen|Bỉ:Bruxelles|Nga:Moskva|"
    "Thổ Nhĩ Kỳ:Ankara|Ai Cập:Cairo|Kenya:Nairobi|Ấn Độ:New Delhi|Trung Quốc:Bắc Kinh|Thái Lan:Băng Cốc|"
    "Lào:Viêng Chăn|Việt Nam:Hà Nội|Indonesia:Jakarta|Hàn Quốc:Seoul|Iran:Tehran|Canada:Ottawa|Cuba:La Habana|"
    "Peru:Lima|Úc:Canberra|Campuchia:Phnôm Pênh|Anh:Luân Đôn"
)

CONTINENTS = (
    "Pháp:châu Âu|Đức:châu Âu|Ý:châu Âu|Ba Lan:châu Âu|Na Uy:châu Âu|Hy Lạp:châu Âu|Nhật Bản:châu Á|"
    "Thái Lan:châu Á|Ấn Độ:châu Á|Lào:châu Á|Việt Nam:châu Á|Trung Quốc:châu Á|Ai Cập:châu Phi|Kenya:châu Phi|"
    "Nam Phi:châu Phi|Ma Rốc:châu Phi|Canada:châu Mỹ|Cuba:châu Mỹ|Peru:châu Mỹ|Brazil:châu Mỹ|Úc:châu Đại Dương|"
    "Fiji:châu Đại Dương"
)

ELEMENT_SYMBOLS = (
    "sắt:Fe|đồng:Cu|bạc:Ag|vàng:Au|chì:Pb|kẽm:Zn|thiếc:Sn|nhôm:Al|thủy ngân:Hg|lưu huỳnh:S|hiđro:H|oxi:O|nitơ:N|"
    "cacbon:C|clo:Cl|natri:Na|kali:K|canxi:Ca|magie:Mg|silic:Si|photpho:P|heli:He|iot:I|bari:Ba"
)

ATOMIC_NUMBERS = (
    "hiđro:1|heli:2|liti:3|cacbon:6|nitơ:7|oxi:8|natri:11|magie:12|nhôm:13|silic:14|photpho:15|lưu huỳnh:16|clo:17|"
    "kali:19|canxi:20|sắt:26|đồng:29|kẽm:30|bạc:47|vàng:79"
)

OPPOSITES = (
    "nóng:lạnh|to:nhỏ|cao:thấp|nhanh:chậm|già:trẻ|giàu:nghèo|sáng:tối|vui:buồn|mạnh:yếu|đầy:vơi|mở:đóng|sớm:muộn|"
    "dễ:khó|sạch:bẩn|ướt:khô|dày:mỏng|gần:xa|ồn ào:yên tĩnh|ngọt:đắng|rộng:hẹp|cứng:mềm|sâu:nông|đúng:sai|"
    "đầu tiên:cuối cùng|trên:dưới|trong:ngoài|mua:bán|thắng:thua|yêu:ghét|cười:khóc|nhớ:quên|tăng:giảm|ngày:đêm|"
    "bạn:thù|chiến tranh:hòa bình|siêng năng:lười biếng|dũng cảm:hèn nhát|thật thà:dối trá"
)

TRANSLATIONS = (
    "dog:chó|cat:mèo|bird:chim|fish:cá|horse:ngựa|pig:lợn|chicken:gà|duck:vịt|buffalo:trâu|tiger:hổ|house:nhà|"
    "door:cửa|table:bàn|chair:ghế|book:sách|pen:bút|river:sông|mountain:núi|sea:biển|sky:trời|sun:mặt trời|"
    "moon:mặt trăng|star:sao|rain:mưa|wind:gió|tree:cây|flower:hoa|leaf:lá|rice:gạo|water:nước|salt:muối|"
    "sugar:đường|milk:sữa|bread:bánh mì|red:đỏ|blue:xanh|white:trắng|black:đen|yellow:vàng|mother:mẹ|father:bố|"
    "teacher:giáo viên|doctor:bác sĩ|farmer:nông dân|school:trường học|hospital:bệnh viện|market:chợ|bridge:cầu|"
    "road:đường đi|train:tàu hỏa|airplane:máy bay|bicycle:xe đạp|hand:tay|eye:mắt|ear:tai|head:đầu"
)

ANIMAL_CLASSES = (
    "chó:lớp thú|cá voi:lớp thú|dơi:lớp thú|hổ:lớp thú|khỉ:lớp thú|đại bàng:lớp chim|vịt:lớp chim|chim sẻ:lớp chim|"
    "chim cánh cụt:lớp chim|cá chép:lớp cá|cá mập:lớp cá|cá hồi:lớp cá|kiến:sâu bọ|ong:sâu bọ|muỗi:sâu bọ|"
    "bướm:sâu bọ|rắn:bò sát|thằn lằn:bò sát|rùa:bò sát|cá sấu:bò sát|ếch:lưỡng cư|cóc:lưỡng cư"
)

EVENT_YEARS = (
    "khởi nghĩa Hai Bà Trưng:40|nước Vạn Xuân được lập:544|chiến thắng Bạch Đằng của Ngô Quyền:938|"
    "nước Đại Cồ Việt được lập:968|nhà Lý được thành lập:1009|Lý Công Uẩn dời đô ra Thăng Long:1010|"
    "Văn Miếu được xây dựng:1070|nhà Hồ được thành lập:1400|khởi nghĩa Lam Sơn bùng nổ:1418|"
    "Lê Lợi lên ngôi vua:1428|nhà Mạc được thành lập:1527|khởi nghĩa Tây Sơn bùng nổ:1771|"
    "chiến thắng Ngọc Hồi - Đống Đa:1789|nhà Nguyễn được thành lập:1802|Pháp nổ súng tấn công Đà Nẵng:1858|"
    "Hiệp ước Nhâm Tuất được kí:1862|Hiệp ước Hác-măng được kí:1883|Hiệp ước Pa-tơ-nốt được kí:1884|"
    "chiếu Cần vương được ban bố:1885|Nguyễn Tất Thành rời bến Nhà Rồng:1911|Đảng Cộng sản Việt Nam ra đời:1930|"
    "Cách mạng tháng Tám thành công:1945|Quốc hội Việt Nam được bầu lần đầu:1946|"
    "chiến dịch Việt Bắc thu - đông:1947|chiến dịch Biên giới thu - đông:1950|chiến thắng Điện Biên Phủ:1954|"
    "trận Ấp Bắc:1963|chiến thắng Vạn Tường:1965|cuộc tiến công Tết Mậu Thân:1968|"
    "Hiệp định Pari về Việt Nam được kí:1973|chiến dịch Hồ Chí Minh toàn thắng:1975|"
    "Việt Nam gia nhập Liên hợp quốc:1977|công cuộc Đổi mới bắt đầu:1986|Việt Nam gia nhập ASEAN:1995|"
    "Việt Nam gia nhập WTO:2007|Chiến tranh thế giới thứ nhất bùng nổ:1914|Cách mạng tháng Mười Nga:1917|"
    "Chiến tranh thế giới thứ hai bùng nổ:1939|nước Cộng hòa Nhân dân Trung Hoa ra đời:1949|"
    "Liên Xô phóng vệ tinh nhân tạo đầu tiên:1957|cách mạng Cuba thắng lợi:1959|Gagarin bay vào vũ trụ:1961|"
    "ASEAN được thành lập:1967|con người đặt chân lên Mặt Trăng:1969|bức tường Béc-lin sụp đổ:1989|"
    "Liên Xô tan rã:1991"
)

PEOPLE = (
    "đánh tan quân Nam Hán trên sông Bạch Đằng năm 938:Ngô Quyền|dời đô ra Thăng Long:Lý Công Uẩn|"
    "dẹp loạn mười hai sứ quân:Đinh Bộ Lĩnh|lãnh đạo khởi nghĩa Lam Sơn:Lê Lợi|viết Bình Ngô đại cáo:Nguyễn Trãi|"
    "viết Truyện Kiều:Nguyễn Du|viết Hịch tướng sĩ:Trần Quốc Tuấn|đánh tan quân Thanh năm 1789:Quang Trung|"
    "chỉ huy chiến dịch Điện Biên Phủ:Võ Nguyên Giáp|đọc Tuyên ngôn Độc lập ngày 2-9-1945:Hồ Chí Minh|"
    "khởi xướng phong trào Đông Du:Phan Bội Châu|lãnh đạo khởi nghĩa Yên Thế:Hoàng Hoa Thám|"
    "lãnh đạo khởi nghĩa Hương Khê:Phan Đình Phùng|đánh tan quân Tống năm 981:Lê Hoàn|"
    "đánh quân Tống trên sông Như Nguyệt:Lý Thường Kiệt|lập ra nhà Hồ:Hồ Quý Ly|"
    "là vua cuối cùng của nhà Nguyễn:Bảo Đại|lập ra nhà Nguyễn:Gia Long|viết Lục Vân Tiên:Nguyễn Đình Chiểu|"
    "viết Chí Phèo:Nam Cao|viết Tắt đèn:Ngô Tất Tố|viết Số đỏ:Vũ Trọng Phụng|viết Dế Mèn phiêu lưu kí:Tô Hoài|"
    "viết Vợ nhặt:Kim Lân|viết Tây Tiến:Quang Dũng|viết Việt Bắc:Tố Hữu|viết Sóng:Xuân Quỳnh|"
    "viết Vội vàng:Xuân Diệu|viết Tràng giang:Huy Cận"
)

PLACES = (
    "vịnh Hạ Long:Quảng Ninh|động Phong Nha:Quảng Bình|phố cổ Hội An:Quảng Nam|thị xã Sa Pa:Lào Cai|"
    "thành phố Đà Lạt:Lâm Đồng|đảo Phú Quốc:Kiên Giang|cố đô Hoa Lư:Ninh Bình|đền Hùng:Phú Thọ|"
    "thành nhà Hồ:Thanh Hóa|làng Kim Liên:Nghệ An|hồ Ba Bể:Bắc Kạn|thác Bản Giốc:Cao Bằng|"
    "cao nguyên đá Đồng Văn:Hà Giang|cao nguyên Mộc Châu:Sơn La|núi Bà Đen:Tây Ninh|Mũi Né:Bình Thuận|"
    "thành phố Nha Trang:Khánh Hòa|thành phố Buôn Ma Thuột:Đắk Lắk|thành phố Pleiku:Gia Lai|"
    "thành phố Quy Nhơn:Bình Định|đảo Lý Sơn:Quảng Ngãi|đảo Cát Bà:Hải Phòng|chùa Hương:Hà Nội|"
    "thị trấn Tam Đảo:Vĩnh Phúc|khu di tích Tân Trào:Tuyên Quang|ngã ba Đồng Lộc:Hà Tĩnh|"
    "địa đạo Vịnh Mốc:Quảng Trị|chùa Thiên Mụ:Huế|rừng U Minh Hạ:Cà Mau|chợ nổi Cái Răng:Cần Thơ"
)
