/** What a page shows comes from the API: once, or again and again while somebody looks. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import { ApiError } from "./api/client";

export interface Loaded<T> {
  /** The newest answer. It stays while a later call fails. */
  data: T | undefined;
  error: ApiError | undefined;
  /** When `data` was answered, in milliseconds since 1970. */
  at: number;
  reload: () => void;
}

/** A platform that fails is asked less often, up to this many milliseconds. */
const SLOWEST = 30_000;

function failure(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError(0, `The page failed: ${String(error)}. Load it again.`);
}

/**
 * Asks when `deps` change, and every `every` milliseconds if that is given. Nobody asks for a page that is hidden.
 */
export function useLoad<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  deps: readonly unknown[],
  every?: number,
): Loaded<T> {
  const [state, setState] = useState<{ data: T | undefined; error: ApiError | undefined; at: number }>({
    data: undefined,
    error: undefined,
    at: 0,
  });
  const [round, setRound] = useState(0);
  const known = useRef<readonly unknown[]>([]);

  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let failures = 0;
    // Another question: what is shown belongs to the one before.
    if (known.current.length !== deps.length || deps.some((dep, index) => dep !== known.current[index])) {
      known.current = deps;
      setState({ data: undefined, error: undefined, at: 0 });
    }
    const again = (): void => {
      if (every === undefined || stop.signal.aborted) return;
      timer = setTimeout(run, Math.min(every * 2 ** Math.min(failures, 5), Math.max(SLOWEST, every)));
    };
    const run = async (): Promise<void> => {
      timer = undefined;
      if (document.hidden && every !== undefined) return;
      try {
        const data = await ask(stop.signal);
        if (stop.signal.aborted) return;
        failures = 0;
        setState({ data, error: undefined, at: Date.now() });
      } catch (error) {
        if (stop.signal.aborted) return;
        failures += 1;
        const reason = failure(error);
        setState((before) => ({ ...before, error: reason }));
        // What is not there will not come by asking.
        if (reason.status === 404 || reason.status === 403) return;
      }
      again();
    };
    const shown = (): void => {
      if (!document.hidden && timer === undefined && every !== undefined) void run();
    };
    void run();
    document.addEventListener("visibilitychange", shown);
    addEventListener("online", shown);
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", shown);
      removeEventListener("online", shown);
    };
  }, [...deps, round, every]);

  const reload = useCallback(() => setRound((before) => before + 1), []);
  return { ...state, reload };
}

/** Something that a person starts: it runs once at a time, and its error is shown where it was started. */
export function useAction(): {
  busy: boolean;
  error: ApiError | undefined;
  clear: () => void;
  run: (work: () => Promise<void>) => Promise<boolean>;
} {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | undefined>();
  const running = useRef(false);
  const run = useCallback(async (work: () => Promise<void>) => {
    if (running.current) return false;
    running.current = true;
    setBusy(true);
    setError(undefined);
    try {
      await work();
      return true;
    } catch (reason) {
      setError(failure(reason));
      return false;
    } finally {
      running.current = false;
      setBusy(false);
    }
  }, []);
  const clear = useCallback(() => setError(undefined), []);
  return { busy, error, clear, run };
}
