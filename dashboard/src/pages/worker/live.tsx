/** How a Worker does now. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../../api/endpoints";
import { useLoad } from "../../load";
import { Select } from "../../ui/parts";
import { Show } from "../../ui/states";
import { Charts, RANGES, Tiles } from "../figures";

const OFTEN = 3000;

export function LiveTab({ name }: { name: string }): JSX.Element {
  const [since, setSince] = useState<(typeof RANGES)[number][0]>("900");
  const analytics = useLoad((signal) => api.analytics(name, Number(since), signal), [name, since], OFTEN);
  return (
    <Show of={analytics} what="Live figures are" lines={6}>
      {(of) => (
        <>
          <Tiles of={of} />
          <Charts of={of} actions={<Select label="Last" value={since} options={RANGES} onChange={setSince} />} />
        </>
      )}
    </Show>
  );
}
