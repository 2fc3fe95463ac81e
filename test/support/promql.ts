/** The labels of each metric that may be asked for. */
export type MetricLabels = ReadonlyMap<string, readonly string[]>

/** Labels that Prometheus adds to every series when it scrapes. */
const SCRAPE_LABELS = ['instance', 'job']

const AGGREGATIONS = ['sum', 'count', 'max', 'min', 'avg']
const RANGE_FUNCTIONS = ['rate', 'increase']
const INSTANT_FUNCTIONS = ['absent', 'abs']
const SET_OPERATORS = ['and', 'or', 'unless']

const TOKEN =
  /\s+|\[\d+[smhd]\]|\d+(?:\.\d+)?|"[^"]*"|[A-Za-z_]\w*|==|!=|>=|<=|=~|!~|[-+*/%><={}(),]/y

/**
 * What is wrong with an expression of PromQL, as far as our alerts use it: its grammar, its functions,
 * and every metric and label in it. Empty when all is well; it stops at the first fault.
 */
export function expressionFaults(expression: string, metrics: MetricLabels): readonly string[] {
  try {
    const reader = createReader(tokensOf(expression))
    readExpression(reader, metrics)
    if (reader.peek() !== '') throw new SyntaxError(endFault(reader.peek()))
    return []
  } catch (error) {
    if (error instanceof SyntaxError) return [error.message]
    throw error
  }
}

interface Reader {
  /** The next token; '' at the end. */
  peek(): string
  take(): string
  /** Takes the next token if it is this one. */
  skip(token: string): boolean
  demand(token: string): void
}

function tokensOf(expression: string): readonly string[] {
  const tokens: string[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < expression.length) {
    const at = TOKEN.lastIndex
    const [token] = TOKEN.exec(expression) ?? []
    if (token === undefined)
      throw new SyntaxError(`no token begins with character ${expression[at]}`)
    if (token.trim() !== '') tokens.push(token)
  }
  return tokens
}

function createReader(tokens: readonly string[]): Reader {
  let at = 0
  const peek = () => tokens[at] ?? ''
  const take = () => tokens[at++] ?? ''
  const skip = (token: string) => {
    const isThere = peek() === token
    if (isThere) at += 1
    return isThere
  }
  return {
    ...{ peek, take, skip },
    demand(token) {
      if (!skip(token)) throw new SyntaxError(`unbalanced: expected ${token}, found "${peek()}"`)
    },
  }
}

function endFault(token: string): string {
  return /^[)}]/.test(token)
    ? `unbalanced: ${token}`
    : `two values without an operator, at ${token}`
}

/** Operators are read without their precedence, which changes no fault. */
function readExpression(reader: Reader, metrics: MetricLabels): void {
  readValue(reader, metrics)
  for (;;) {
    const operator = reader.peek()
    if (SET_OPERATORS.includes(operator)) {
      reader.take()
      if (reader.skip('on') || reader.skip('ignoring')) readLabels(reader, metrics)
    } else if (/^(==|!=|>=|<=|[-+*/%><])$/.test(operator)) {
      reader.take()
    } else {
      return
    }
    readValue(reader, metrics)
  }
}

function readValue(reader: Reader, metrics: MetricLabels): void {
  const token = reader.take()
  if (token === '') throw new SyntaxError('it ends where a value is expected')
  if (token === '(') {
    readExpression(reader, metrics)
    reader.demand(')')
  } else if (token === '-') {
    readValue(reader, metrics)
  } else if (/^[A-Za-z_]/.test(token)) {
    readNamed(reader, metrics, token)
  } else if (!/^\d/.test(token)) {
    throw new SyntaxError(`two operators, at ${token}`)
  }
}

/** What begins with a name: an aggregation, a function or a metric. */
function readNamed(reader: Reader, metrics: MetricLabels, name: string): void {
  const isAggregation = AGGREGATIONS.includes(name)
  if (isAggregation && (reader.skip('by') || reader.skip('without'))) readLabels(reader, metrics)
  if (reader.peek() !== '(') {
    readSelector(reader, metrics, { metric: name, hasRange: false })
    return
  }
  const hasRange = RANGE_FUNCTIONS.includes(name)
  if (!isAggregation && !hasRange && !INSTANT_FUNCTIONS.includes(name)) {
    throw new SyntaxError(`no function ${name}`)
  }
  reader.demand('(')
  if (hasRange) readSelector(reader, metrics, { metric: reader.take(), hasRange })
  else readExpression(reader, metrics)
  reader.demand(')')
}

function readSelector(
  reader: Reader,
  metrics: MetricLabels,
  { metric, hasRange }: { readonly metric: string; readonly hasRange: boolean },
): void {
  const labels = metrics.get(metric)
  if (labels === undefined) throw new SyntaxError(`no metric ${metric}`)
  if (reader.skip('{')) {
    do {
      const label = reader.take()
      if (!labels.includes(label)) throw new SyntaxError(`no label ${label} of ${metric}`)
      const operator = reader.take()
      if (!/^(=|!=|=~|!~)$/.test(operator)) throw new SyntaxError(`no matcher ${operator}`)
      if (!reader.take().startsWith('"'))
        throw new SyntaxError(`${label} is not compared to a string`)
    } while (reader.skip(','))
    reader.demand('}')
  }
  const isRange = reader.peek().startsWith('[')
  if (isRange) reader.take()
  if (isRange !== hasRange) throw new SyntaxError(`${metric}: a range where none belongs, or none`)
}

function readLabels(reader: Reader, metrics: MetricLabels): void {
  reader.demand('(')
  do {
    const label = reader.take()
    const isKnown = [...metrics.values()].some(labels => labels.includes(label))
    if (!isKnown && !SCRAPE_LABELS.includes(label)) throw new SyntaxError(`no label ${label}`)
  } while (reader.skip(','))
  reader.demand(')')
}
