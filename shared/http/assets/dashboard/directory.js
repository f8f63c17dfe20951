// What ids are called. Names are asked for once and kept while the page lives; an id without a name is shown as it is.

import * as api from "./api.js";
import { ENTITIES } from "./words.js";

const MOST = 1000;

export const makeDirectory = (session) => {
  const ads = new Map();
  let slots = null;
  const none = { items: [], more: false };

  const note = (list) => {
    for (const ad of list) ads.set(ad.ad_id, ad);
    return list;
  };

  const self = {
    /** An ad, or null where it is not to be seen. */
    async ad(id, signal) {
      if (!ads.has(id)) {
        try {
          note([await api.ad(id, signal)]);
        } catch (error) {
          if (error.status !== 404 && error.status !== 403) throw error;
          return null;
        }
      }
      return ads.get(id);
    },

    /** Sees to it that these ads of an advertiser or campaign have names: in one request, as far as that goes. */
    async learn(ids, of, signal) {
      const unknown = () => ids.filter((id) => !ads.has(id));
      if (unknown().length > 1) note((await api.ads({ [`${of.entity}_id`]: of.id, archived: true }, 100, signal)).items);
      await Promise.all(unknown().map((id) => self.ad(id, signal)));
    },

    titleOf: (id) => ads.get(id)?.title || `Ad ${id}`,
    known: (id) => ads.get(id),

    /** The placements that the session may see: administrators' lists have names, a publisher's session has ids. */
    async placements(signal) {
      if (slots) return slots;
      if (session.scope === "advertiser") return [];
      try {
        slots = (await api.placements(MOST, signal)).items;
      } catch (error) {
        if (error.status !== 403) throw error;
        slots = (session.placement_ids ?? []).map((placement_id) => ({ placement_id, slot: null }));
      }
      return slots;
    },
    slotOf: (id) => slots?.find((slot) => slot.placement_id === id)?.slot ?? `Placement ${id}`,

    /** The owner of a campaign, as one of its ads tells it. */
    async ownerOf(campaign, signal) {
      const { items } = await api.ads({ campaign_id: campaign, archived: true }, 1, signal);
      return note(items)[0]?.advertiser_id;
    },

    /** Everything that can be looked at: {entity, id, name, note}. */
    async everything(signal) {
      const of = session.scope;
      const [advertisers, campaigns, list, placements] = await Promise.all([
        of === "admin" ? api.advertisers(MOST, signal) : none,
        of === "publisher" ? none : api.campaigns(of === "advertiser" ? { advertiser_id: session.advertiser_id } : {}, MOST, signal),
        of === "publisher" ? none : api.ads(of === "advertiser" ? { advertiser_id: session.advertiser_id } : {}, MOST, signal),
        self.placements(signal),
      ]);
      note(list.items);
      const found = [];
      if (of === "admin") found.push({ entity: "total", name: "All clicks", note: "every advertiser" });
      if (of === "advertiser") found.push({ entity: "advertiser", id: session.advertiser_id, name: `Advertiser ${session.advertiser_id}`, note: "all campaigns" });
      for (const { advertiser_id: id } of advertisers.items) found.push({ entity: "advertiser", id, name: `Advertiser ${id}` });
      for (const { campaign_id: id, advertiser_id: owner } of campaigns.items) found.push({ entity: "campaign", id, name: `Campaign ${id}`, note: of === "admin" ? `advertiser ${owner}` : "" });
      for (const ad of list.items) found.push({ entity: "ad", id: ad.ad_id, name: ad.title || `Ad ${ad.ad_id}`, note: `ad ${ad.ad_id} · campaign ${ad.campaign_id}${ad.status === "active" ? "" : ` · ${ad.status}`}` });
      for (const { placement_id: id, slot } of placements) found.push({ entity: "placement", id, name: slot ?? `Placement ${id}`, note: slot ? `placement ${id}` : "" });
      return { found, more: advertisers.more || campaigns.more || list.more };
    },

    /** What a view's entity is called, as far as it is known by now. */
    nameOf({ entity, id }) {
      if (entity === "total") return "All clicks";
      if (entity === "ad") return self.titleOf(id);
      if (entity === "placement") return self.slotOf(id);
      return `${ENTITIES[entity]} ${id}`;
    },
  };
  return self;
};
