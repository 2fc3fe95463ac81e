const TAG = /<(\/?)([A-Za-z][\w.-]*)(?:\s+[\w:.-]+\s*=\s*(?:"[^"<&]*"|'[^'<&]*'))*\s*(\/?)>/y

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
])

/**
 * Reads the little XML that AWS answers with: the text of every element that holds no other, by its
 * path (`ErrorResponse/Error/Code`). Null when it is anything else: a document type, entities beyond
 * the five of XML itself, comments, CDATA, text beside elements, the same path twice.
 */
export function parseXmlLeaves(bytes: Uint8Array): ReadonlyMap<string, string> | null {
  const document = new TextDecoder()
    .decode(bytes)
    .replace(/^\s*<\?xml [^?<>]*\?>/, '')
    .trim()
  const leaves = new Map<string, string>()
  const open: string[] = []
  let isLeaf = false
  let text = ''
  for (let at = 0; at < document.length; ) {
    if (document[at] !== '<') {
      const end = document.indexOf('<', at)
      if (end === -1 || open.length === 0) return null
      text = document.slice(at, end)
      // Between elements there is only white space.
      if (!isLeaf && text.trim() !== '') return null
      at = end
      continue
    }
    TAG.lastIndex = at
    const [whole = '', closing, name = '', selfClosing] = TAG.exec(document) ?? []
    if (whole === '' || (closing !== '' && selfClosing !== '')) return null
    at += whole.length
    if (closing === '') {
      if (isLeaf && text.trim() !== '') return null
      if (open.length === 0 && at !== whole.length) return null
      open.push(name)
      isLeaf = true
      text = ''
      if (selfClosing === '') continue
    }
    const path = open.join('/')
    if (open.pop() !== name) return null
    const plain = isLeaf ? decodeText(text) : ''
    if (plain === null || (isLeaf && leaves.has(path))) return null
    if (isLeaf) leaves.set(path, plain)
    isLeaf = false
    text = ''
  }
  return open.length === 0 && leaves.size > 0 ? leaves : null
}

/** Null for a reference to anything but the five characters that XML itself names. */
function decodeText(text: string): string | null {
  const references = text.match(/&[^;]*;?/g) ?? []
  const isKnown = references.every(reference => ENTITIES.has(reference.slice(1, -1)))
  if (!isKnown) return null
  return text.replace(/&(\w+);/g, (whole, name: string) => ENTITIES.get(name) ?? whole)
}
