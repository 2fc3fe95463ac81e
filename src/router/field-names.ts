/** Header fields that agents and vendors send often, in the two ways in which they are mostly written. */
export const USUAL_NAMES: readonly string[] = [
  ...['accept', 'accept-encoding', 'accept-language', 'alt-svc', 'anthropic-beta'],
  ...['anthropic-organization-id', 'anthropic-version', 'api-key', 'authorization'],
  ...['cache-control', 'cf-cache-status', 'cf-ray', 'connection', 'content-encoding'],
  ...['content-length', 'content-type', 'cookie', 'date', 'expect', 'host', 'keep-alive'],
  ...['openai-organization', 'openai-processing-ms', 'openai-project', 'openai-version', 'origin'],
  ...[
    'proxy-connection',
    'request-id',
    'retry-after',
    'sec-fetch-mode',
    'sec-fetch-site',
    'server',
  ],
  ...['server-timing', 'set-cookie', 'strict-transport-security', 'traceparent', 'tracestate'],
  ...['transfer-encoding', 'upgrade', 'user-agent', 'vary', 'via', 'x-api-key', 'x-app'],
  ...['x-content-type-options', 'x-frame-options', 'x-goog-api-key', 'x-ratelimit-limit-requests'],
  ...['x-ratelimit-limit-tokens', 'x-ratelimit-remaining-requests', 'x-ratelimit-remaining-tokens'],
  ...['x-ratelimit-reset-requests', 'x-ratelimit-reset-tokens', 'x-request-id'],
  ...['x-stainless-arch', 'x-stainless-lang', 'x-stainless-os', 'x-stainless-package-version'],
  ...['x-stainless-retry-count', 'x-stainless-runtime', 'x-stainless-runtime-version'],
  ...['x-stainless-timeout', 'x-xss-protection'],
].flatMap(name => [name, name.replace(/(?<![^-])[a-z]/g, letter => letter.toUpperCase())])

/** Many a name passes several sieves; a known one costs a look-up at each, without a new string. */
const LOWER: ReadonlyMap<string, string> = new Map(
  USUAL_NAMES.map(name => [name, name.toLowerCase()]),
)

/** A field's name in lower case. */
export function lowerName(name: string): string {
  return LOWER.get(name) ?? name.toLowerCase()
}

/** Whether a name is one of those that are known to be well written. */
export function isUsualName(name: string): boolean {
  return LOWER.has(name)
}
