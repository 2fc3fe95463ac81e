import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { OtlpConfig } from '../system/otlp.ts'

/**
 * Reads where traces go from OpenTelemetry's own variables; null when nothing is configured.
 *
 * @throws AppError `invalid_usage` for an address, a protocol or headers that cannot be used.
 */
export function readTracing(env: NodeJS.ProcessEnv, serviceName: string): OtlpConfig | null {
  const endpoint = env.OTEL_EXPORTER_OTLP_ENDPOINT ?? ''
  const isOff = env.OTEL_SDK_DISABLED === 'true' || env.OTEL_TRACES_EXPORTER === 'none'
  if (endpoint === '' || isOff) return null
  const url = URL.parse(endpoint)
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '') {
    throw wrong('OTEL_EXPORTER_OTLP_ENDPOINT takes http://HOST:PORT or https://HOST:PORT')
  }
  const protocol = env.OTEL_EXPORTER_OTLP_PROTOCOL ?? ''
  if (protocol === 'grpc') {
    throw wrong(
      'OTEL_EXPORTER_OTLP_PROTOCOL takes http/json; the collector has another port for it',
    )
  }
  const name = env.OTEL_SERVICE_NAME ?? ''
  return {
    url: `${url.href.replace(/\/$/, '')}/v1/traces`,
    headers: headersOf(env.OTEL_EXPORTER_OTLP_HEADERS ?? ''),
    serviceName: name === '' ? serviceName : name,
  }
}

/** `name=value` pairs with commas between, values percent-encoded. They may hold keys, so none is quoted. */
function headersOf(text: string): ReadonlyMap<string, Secret> {
  const pairs = text.split(',').filter(pair => pair.trim() !== '')
  return new Map(
    pairs.map(pair => {
      const [, name = '', value = ''] = /^\s*([!#$%&'*+.^_`|~\w-]+)\s*=(.*)$/.exec(pair) ?? []
      const decoded = percentDecoded(value.trim())
      if (name === '' || decoded === null || /[^\t\x20-\x7e]/.test(decoded)) {
        throw wrong('OTEL_EXPORTER_OTLP_HEADERS takes name=value, name=value')
      }
      return [name.toLowerCase(), new Secret(decoded)]
    }),
  )
}

function percentDecoded(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) return null
    throw error
  }
}

function wrong(message: string): AppError {
  return new AppError('invalid_usage', message)
}
