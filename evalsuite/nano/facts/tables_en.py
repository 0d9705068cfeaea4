"""Facts in English, as `subject:answer` tables. Common knowledge, written for this project."""

from __future__ import annotations

CAPITALS = (
    "France:Paris|Japan:Tokyo|Italy:Rome|Spain:Madrid|Portugal:Lisbon|Germany:Berlin|Austria:Vienna|Greece:Athens|"
    "Poland:Warsaw|Hungary:Budapest|Norway:Oslo|Sweden:Stockholm|Finland:Helsinki|Denmark:Copenhagen|"
    "Ireland:Dublin|Belgium:Brussels|Russia:Moscow|Ukraine:Kyiv|Turkey:Ankara|Egypt:Cairo|Kenya:Nairobi|"
    "Morocco:Rabat|Nigeria:Abuja|Ghana:Accra|Senegal:Dakar|India:New Delhi|China:Beijing|Thailand:Bangkok|"
    "Laos:Vientiane|Vietnam:Hanoi|Indonesia:Jakarta|Nepal:Kathmandu|Iran:Tehran|Iraq:Baghdad|Canada:Ottawa|"
    "Cuba:Havana|Peru:Lima|Chile:Santiago|Brazil:Brasilia|Colombia:Bogota|Australia:Canberra|Serbia:Belgrade|"
    "Romania:Bucharest|Bulgaria:Sofia|Switzerland:Bern|Cambodia:Phnom Penh"
)

CONTINENTS = (
    "France:Europe|Japan:Asia|Italy:Europe|Spain:Europe|Germany:Europe|Greece:Europe|Poland:Europe|Norway:Europe|"
    "Egypt:Africa|Kenya:Africa|Morocco:Africa|Nigeria:Africa|Ghana:Africa|Senegal:Africa|India:Asia|China:Asia|"
    "Thailand:Asia|Vietnam:Asia|Iran:Asia|Nepal:Asia|Canada:North America|Cuba:North America|Mexico:North America|"
    "Peru:South America|Chile:South America|Brazil:South America|Colombia:South America|Australia:Oceania|"
    "New Zealand:Oceania|Fiji:Oceania"
)

CURRENCIES = (
    "Japan:yen|China:yuan|India:rupee|Vietnam:dong|Thailand:baht|Russia:ruble|Sweden:krona|Denmark:krone|"
    "Poland:zloty|Switzerland:franc|Turkey:lira|Mexico:peso|Brazil:real|South Africa:rand|Israel:shekel|"
    "Hungary:forint|Laos:kip|Peru:sol|Malaysia:ringgit|Nigeria:naira"
)

ELEMENT_SYMBOLS = (
    "hydrogen:H|helium:He|lithium:Li|carbon:C|nitrogen:N|oxygen:O|fluorine:F|neon:Ne|sodium:Na|magnesium:Mg|"
    "aluminium:Al|silicon:Si|phosphorus:P|sulfur:S|chlorine:Cl|argon:Ar|potassium:K|calcium:Ca|iron:Fe|nickel:Ni|"
    "copper:Cu|zinc:Zn|bromine:Br|silver:Ag|tin:Sn|iodine:I|barium:Ba|platinum:Pt|gold:Au|mercury:Hg|lead:Pb|"
    "uranium:U"
)

ATOMIC_NUMBERS = (
    "hydrogen:1|helium:2|lithium:3|beryllium:4|boron:5|carbon:6|nitrogen:7|oxygen:8|fluorine:9|neon:10|sodium:11|"
    "magnesium:12|aluminium:13|silicon:14|phosphorus:15|sulfur:16|chlorine:17|argon:18|potassium:19|calcium:20|"
    "iron:26|copper:29|zinc:30|silver:47|gold:79"
)

OPPOSITES = (
    "hot:cold|big:small|tall:short|fast:slow|old:young|rich:poor|light:dark|happy:sad|strong:weak|full:empty|"
    "open:closed|early:late|easy:difficult|clean:dirty|wet:dry|thick:thin|near:far|loud:quiet|brave:afraid|"
    "sweet:bitter|high:low|wide:narrow|hard:soft|deep:shallow|sharp:dull|right:wrong|true:false|first:last|"
    "above:below|inside:outside|begin:end|buy:sell|push:pull|win:lose|love:hate|give:take|laugh:cry|arrive:leave|"
    "remember:forget|accept:refuse|increase:decrease|build:destroy|day:night|north:south|east:west|friend:enemy|"
    "war:peace|summer:winter"
)

YOUNG_ANIMALS = (
    "dog:puppy|cat:kitten|cow:calf|horse:foal|sheep:lamb|goat:kid|pig:piglet|hen:chick|duck:duckling|goose:gosling|"
    "lion:cub|deer:fawn|swan:cygnet|kangaroo:joey|frog:tadpole|butterfly:caterpillar|owl:owlet|hare:leveret"
)

ANIMAL_CLASSES = (
    "dog:mammal|whale:mammal|bat:mammal|tiger:mammal|horse:mammal|dolphin:mammal|monkey:mammal|eagle:bird|owl:bird|"
    "penguin:bird|sparrow:bird|duck:bird|parrot:bird|salmon:fish|shark:fish|tuna:fish|carp:fish|trout:fish|"
    "ant:insect|bee:insect|butterfly:insect|mosquito:insect|beetle:insect|snake:reptile|lizard:reptile|"
    "turtle:reptile|crocodile:reptile|frog:amphibian|toad:amphibian|newt:amphibian"
)

LEGS = (
    "snake:None|whale:None|shark:None|worm:None|eagle:2|hen:2|penguin:2|dog:4|horse:4|tiger:4|frog:4|ant:6|bee:6|"
    "beetle:6|spider:8|scorpion:8|crab:10|shrimp:10"
)

AUTHORS = (
    "Hamlet:Shakespeare|War and Peace:Tolstoy|Oliver Twist:Dickens|Emma:Austen|The Odyssey:Homer|"
    "Don Quixote:Cervantes|Les Miserables:Hugo|Faust:Goethe|The Trial:Kafka|Animal Farm:Orwell|Moby Dick:Melville|"
    "Ulysses:Joyce|Dracula:Stoker|Frankenstein:Shelley|The Time Machine:Wells|Candide:Voltaire"
)

DAYS_AND_MONTHS = (
    "Monday:Tuesday|Tuesday:Wednesday|Wednesday:Thursday|Thursday:Friday|Friday:Saturday|Saturday:Sunday|"
    "Sunday:Monday|January:February|February:March|March:April|April:May|May:June|June:July|July:August|"
    "August:September|September:October|October:November|November:December"
)

PAST_TENSES = (
    "go:went|see:saw|eat:ate|take:took|give:gave|come:came|write:wrote|drive:drove|buy:bought|bring:brought|"
    "think:thought|teach:taught|catch:caught|find:found|keep:kept|leave:left|lose:lost|meet:met|pay:paid|run:ran|"
    "say:said|sell:sold|send:sent|sing:sang|sit:sat|sleep:slept|speak:spoke|stand:stood|swim:swam|tell:told|"
    "understand:understood|wear:wore|win:won|know:knew|grow:grew|fly:flew|draw:drew|drink:drank|break:broke|"
    "choose:chose|forget:forgot|begin:began"
)

PLURALS = (
    "child:children|man:men|woman:women|foot:feet|tooth:teeth|goose:geese|mouse:mice|leaf:leaves|knife:knives|"
    "wife:wives|life:lives|wolf:wolves|shelf:shelves|city:cities|baby:babies|box:boxes|bus:buses|potato:potatoes|"
    "hero:heroes|person:people|ox:oxen|story:stories"
)

SYNONYMS = (
    "big:large|small:little|fast:quick|happy:glad|begin:start|smart:clever|angry:furious|rich:wealthy|"
    "brave:courageous|sick:ill|correct:right|hard:tough|silent:quiet|tired:weary|strange:odd|beautiful:lovely|"
    "answer:reply|help:assist|buy:purchase|choose:select|end:finish|gather:collect|home:house|road:street|"
    "error:mistake|present:gift|rock:stone|shout:yell|speak:talk|close:shut"
)

PREPOSITIONS = (
    "interested:in|afraid:of|listen:to|depend:on|different:from|proud:of|wait:for|famous:for|married:to|capable:of|"
    "similar:to|responsible:for|believe:in|apologise:for|belong:to|agree:with|consist:of|look forward:to|"
    "succeed:in|insist:on|concentrate:on|suffer:from|absent:from|busy:with"
)
