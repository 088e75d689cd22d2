const adjectives =
  "amber able bold brisk calm clear cool crisp deep eager early even fair fast fine fond fresh gentle glad golden grand green keen kind late lively lucid lunar mellow mild misty neat noble open pale patient plain prime proud quick quiet rapid ripe rosy sharp silent silver sleek slow smooth snowy soft solar sound spare steady still sunny swift tidy vivid warm wise".split(
    " ",
  );
const nouns =
  "alder aspen badger bay beech birch brook canyon cedar cliff cloud comet coral crane creek delta dove dune elm ember falcon fern field finch fjord forest fox gale glade grove harbor hawk hazel heron hill island ivy lake lark linden lynx maple marsh meadow moss oak orchid otter owl peak pine plover pond raven reed ridge river robin sage shore spruce stone thrush willow".split(
    " ",
  );

/** Returns the words of a readable name for a run that was given none: swift-otter, to which its number is added. */
export function wordsFromId(id: string): string {
  const pick = (words: string[], at: number) =>
    words[parseInt(id.slice(at, at + 4), 16) % words.length]!;
  return `${pick(adjectives, 20)}-${pick(nouns, 24)}`;
}
