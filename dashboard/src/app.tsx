/** What is shown: the page of the path, or signing in, which leads back to it. */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { AuditPage } from "./pages/audit";
import { NodesPage } from "./pages/nodes";
import { OverviewPage } from "./pages/overview";
import { SignInPage } from "./pages/sign-in";
import { TokensPage } from "./pages/tokens";
import { UsagePage } from "./pages/usage";
import { WorkerPage } from "./pages/worker";
import { Link, match, path, visits } from "./router";
import { look, signed } from "./session";
import { Shell } from "./shell";
import { Empty, Failed, Loading } from "./ui/states";

interface Shown {
  title: string;
  page: ComponentChildren;
}

function find(at: string): Shown {
  if (at === "/") return { title: "Overview", page: <OverviewPage /> };
  if (at === "/usage") return { title: "Usage and invoices", page: <UsagePage /> };
  if (at === "/nodes") return { title: "Nodes and health", page: <NodesPage /> };
  if (at === "/tokens") return { title: "API tokens", page: <TokensPage /> };
  if (at === "/audit") return { title: "Audit log", page: <AuditPage /> };
  const worker = match("/workers/:name", at) ?? match("/workers/:name/:tab", at);
  const name = worker?.["name"];
  if (name !== undefined && name !== "") {
    return { title: name, page: <WorkerPage key={name} name={name} tab={worker?.["tab"] ?? "live"} /> };
  }
  return {
    title: "Nothing here",
    page: (
      <Empty title="There is no such page">
        <p>
          <Link to="/">Go to the overview</Link>
        </p>
      </Empty>
    ),
  };
}

function Page({ title, children }: { title: string; children: ComponentChildren }): JSX.Element {
  const heading = useRef<HTMLHeadingElement>(null);
  const visit = visits.value;
  useEffect(() => {
    document.title = `${title} · Skep`;
    // Who hears the page, or uses no mouse, begins at the new page's top.
    if (visit > 0) heading.current?.focus({ preventScroll: true });
  }, [title, visit]);
  return (
    <>
      <h1 tabIndex={-1} ref={heading}>
        {title}
      </h1>
      {children}
    </>
  );
}

export function App(): JSX.Element {
  const who = signed.value;
  switch (who.state) {
    case "asking":
      return (
        <main class="alone">
          <Loading />
        </main>
      );
    case "unknown":
      return (
        <main class="alone">
          <Failed error={who.error} retry={() => void look()} />
        </main>
      );
    case "out":
      return <SignInPage reason={who.reason} />;
    case "in": {
      const { title, page } = find(path.value);
      return (
        <Shell session={who.session}>
          <Page title={title}>{page}</Page>
        </Shell>
      );
    }
  }
}
