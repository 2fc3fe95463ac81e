import type { ProviderPage, Store } from '../store/store.ts'

const PROVIDERS_PAGE = 1_000

/** Every provider of a workspace, or of all when it is null, page by page, damaged ones included. */
export async function* providerPages(
  store: Store,
  workspace: string | null,
): AsyncGenerator<ProviderPage> {
  for (let offset = 0; ; offset += PROVIDERS_PAGE) {
    const page = await store.listProviders(workspace, { limit: PROVIDERS_PAGE, offset })
    yield page
    if (page.providers.length + page.damaged.length < PROVIDERS_PAGE) return
  }
}
