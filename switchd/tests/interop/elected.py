"""Wants to be the master of a switch, in OpenFlow 1.4, with the generation id in the environment variable GENERATION.

As the master it replaces all rules by one that forwards. When another controller becomes the master, it tries what a slave
must not do, and an election with the old generation id. It prints what the switch says.
"""

import os

from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.ofproto import ofproto_v1_4

GENERATION = int(os.environ["GENERATION"])


class Elected(app_manager.OSKenApp):
    OFP_VERSIONS = [ofproto_v1_4.OFP_VERSION]

    def stand_for_election(self, datapath):
        parser, ofproto = datapath.ofproto_parser, datapath.ofproto
        datapath.send_msg(parser.OFPRoleRequest(datapath, ofproto.OFPCR_ROLE_MASTER, GENERATION))

    def replace_rules(self, datapath, priority):
        parser, ofproto = datapath.ofproto_parser, datapath.ofproto
        datapath.send_msg(
            parser.OFPFlowMod(
                datapath=datapath,
                table_id=ofproto.OFPTT_ALL,
                command=ofproto.OFPFC_DELETE,
                out_port=ofproto.OFPP_ANY,
                out_group=ofproto.OFPG_ANY,
            )
        )
        normal = [parser.OFPActionOutput(ofproto.OFPP_NORMAL)]
        apply = parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, normal)
        datapath.send_msg(
            parser.OFPFlowMod(
                datapath=datapath, priority=priority, match=parser.OFPMatch(), instructions=[apply]
            )
        )

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def connected(self, event):
        self.stand_for_election(event.msg.datapath)

    @set_ev_cls(ofp_event.EventOFPRoleReply, [CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def elected(self, event):
        print(f"elected {event.msg.generation_id}", flush=True)
        self.replace_rules(event.msg.datapath, GENERATION)

    @set_ev_cls(ofp_event.EventOFPRoleStatus, [CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def role_changed(self, event):
        message = event.msg
        print(f"status role={message.role} reason={message.reason} {message.generation_id}", flush=True)
        self.replace_rules(message.datapath, 99)
        self.stand_for_election(message.datapath)

    @set_ev_cls(ofp_event.EventOFPErrorMsg, [CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def refused(self, event):
        print(f"refused type={event.msg.type} code={event.msg.code}", flush=True)
